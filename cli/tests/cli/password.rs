//! Signing in with a name and a password.

use cache_testkit::authority::{CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, PASSWORD};

use crate::program::{Program, Ran, strict_authority};

const LOGIN: [&str; 6] = [
    "login",
    "password",
    "--username",
    "alice@contoso.test",
    "--scope",
    "User.Read",
];
const TOKEN: [&str; 3] = ["token", "--scope", "User.Read"];

async fn with(program: &Program, words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = program.command(words);
    command.envs(variables.iter().copied());
    Ran::of(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_the_environment_signs_in_and_is_shown_nowhere() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    let ran = with(&program, &LOGIN, &[("TOKENKEEP_PASSWORD", PASSWORD)])
        .await
        .succeeded();
    assert!(
        ran.stderr.contains("Signed in as alice@contoso.test"),
        "{}",
        ran.stderr
    );
    let token = program.run(&TOKEN).await.succeeded();
    assert!(authority.is_access_token_active(token.stdout.trim_end()));

    let other: Vec<_> = LOGIN
        .into_iter()
        .chain(["--password-env", "MY_PASSWORD", "--json"])
        .collect();
    let wrong = with(
        &program,
        &other,
        &[("MY_PASSWORD", "canary-wrong"), ("TOKENKEEP_LOG", "trace")],
    )
    .await;
    assert_eq!(wrong.exit, Some(5), "{}", wrong.stderr);
    assert!(
        !wrong.stdout.contains("canary") && !wrong.stderr.contains("canary"),
        "{}",
        wrong.stderr
    );
    assert!(wrong.stderr.contains("invalid_grant"), "{}", wrong.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_a_password_where_there_is_no_terminal() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    // A session of its own has no terminal.
    let mut command = tokio::process::Command::new("setsid");
    let inner = program.command(&LOGIN);
    command
        .arg("--wait")
        .arg(inner.as_std().get_program())
        .args(inner.as_std().get_args());
    command
        .env_remove("TOKENKEEP_PASSWORD")
        .stdin(std::process::Stdio::null());
    let ran = Ran::of(command).await;
    assert_eq!(ran.exit, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("--password-env"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_with_a_secret_signs_a_user_in_too() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    let words: Vec<_> = LOGIN
        .into_iter()
        .chain([
            "--client-id",
            CONFIDENTIAL_CLIENT,
            "--client-secret-env",
            "APP_SECRET",
        ])
        .collect();
    let variables = [
        ("APP_SECRET", CONFIDENTIAL_SECRET),
        ("TOKENKEEP_PASSWORD", PASSWORD),
    ];
    with(&program, &words, &variables).await.succeeded();
}
