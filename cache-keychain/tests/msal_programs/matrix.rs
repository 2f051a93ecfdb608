//! Whoever wrote it, everybody finds it.

use crate::party::{Answer, Usage, Who};
use crate::scene::Scene;

const ALL: [Who; 3] = [Who::Tokenkeep, Who::Python, Who::Node];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wrote_it_everybody_finds_it() {
    let scene = Scene::set().await;
    let mut table = format!(
        "{:<12} {:<12} {:<22} {:<22} {:<22} {:<22}\n",
        "writer", "reader", "user, silently", "application", "refresh, long-lived", "refresh, per command"
    );
    let mut failures = 0;
    for writer in ALL {
        for reader in ALL {
            let cells = [
                user(&scene, writer, reader).await,
                application(&scene, writer, reader).await,
                refresh(&scene, writer, reader, Usage::LongLived).await,
                refresh(&scene, writer, reader, Usage::PerCommand).await,
            ];
            table += &format!("{writer:<12} {reader:<12}");
            for cell in cells {
                failures += usize::from(cell.is_err());
                table += &format!(" {:<22}", cell.unwrap_or_else(|problem| format!("NO: {problem}")));
            }
            table += "\n";
        }
    }
    println!("{table}");
    assert_eq!(failures, 0, "\n{table}");
    assert_eq!(scene.authority.families_revoked(), 0);
}

type Cell = Result<String, String>;

/// Of a token that is good, nobody asks for another.
async fn user(scene: &Scene, writer: Who, reader: Who) -> Cell {
    let file = format!("user-{writer}-{reader}.json");
    let mut first = scene.party(writer, Usage::LongLived, &file).await;
    let (home, token) = first.sign_in().await;
    let mut second = scene.party(reader, Usage::LongLived, &file).await;
    let before = scene.token_requests();
    hit(&second.silent(&home, false).await?, &token)?;
    match scene.token_requests() - before {
        0 => Ok("hit, no request".to_owned()),
        requests => Err(format!("{requests} requests")),
    }
}

async fn application(scene: &Scene, writer: Who, reader: Who) -> Cell {
    let file = format!("app-{writer}-{reader}.json");
    let mut first = scene.app(writer, &file).await;
    let token = first.app().await?.token;
    let mut second = scene.app(reader, &file).await;
    let before = scene.token_requests();
    let found = second.app().await?;
    if are_strangers(writer, reader) && !found.from_cache {
        return Ok("a token of its own".to_owned());
    }
    hit(&found, &token)?;
    hit(&first.app().await?, &token)?;
    match scene.token_requests() - before {
        0 => Ok("hit, no request".to_owned()),
        requests => Err(format!("{requests} requests")),
    }
}

/// The reader knows what the writer had before it rotated its refresh token.
async fn refresh(scene: &Scene, writer: Who, reader: Who, usage: Usage) -> Cell {
    let file = format!("refresh-{writer}-{reader}-{usage:?}.json");
    let revoked = scene.authority.families_revoked();
    let mut first = scene.party(writer, usage, &file).await;
    let (home, token) = first.sign_in().await;
    let mut second = scene.party(reader, usage, &file).await;
    hit(&second.silent(&home, false).await?, &token)?;
    let rotated = first.silent(&home, true).await?;
    refreshed(&rotated)?;
    hit(&second.silent(&home, false).await?, &rotated.token)?;
    let again = second.silent(&home, true).await?;
    refreshed(&again)?;
    let outcome = if are_strangers(writer, reader) {
        "hit, refreshed"
    } else {
        hit(&first.silent(&home, false).await?, &again.token)?;
        "hit, refreshed, hit"
    };
    match scene.authority.families_revoked() - revoked {
        0 => Ok(outcome.to_owned()),
        _ => Err("the family was revoked".to_owned()),
    }
}

/// Whether the two are different MSALs. Each leaves the rows of the other beside its own, and Node finds no token of an application that
/// Python wrote; see [`strangers`](crate::strangers).
fn are_strangers(one: Who, other: Who) -> bool {
    one != other && ![one, other].contains(&Who::Tokenkeep)
}

fn hit(answer: &Answer, token: &str) -> Result<(), String> {
    if !answer.from_cache {
        return Err("a request instead of a hit".into());
    }
    if answer.token != token {
        return Err("another token".into());
    }
    Ok(())
}

fn refreshed(answer: &Answer) -> Result<(), String> {
    if answer.from_cache {
        return Err("a hit instead of a refresh".into());
    }
    Ok(())
}
