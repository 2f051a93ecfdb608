//! The command line: where options stand, what their variables are, and what goes to which stream.

use cache_testkit::authority::{Alteration, Script};
use serde_json::json;

use crate::program::{Program, Ran, bare, strict_authority};

const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../cache-core/tests/fixtures/msal/py_msft_device_code.json"
);

#[tokio::test(flavor = "multi_thread")]
async fn options_stand_before_and_after_the_command() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    let given: Vec<_> = program
        .given()
        .iter()
        .map(|word| word.to_str().unwrap())
        .collect();
    let orders = [
        [
            &given[..],
            &["--json", "--scope", "User.Read", "login", "device-code"],
        ]
        .concat(),
        [&["token"], &given[..], &["--scope", "User.Read", "--json"]].concat(),
        [
            &["--json", "--scope", "User.Read"],
            &given[..4],
            &["token"],
            &given[4..],
        ]
        .concat(),
        [&["accounts", "--json"], &given[..]].concat(),
        [&["keys", "--json"], &given[..2], &["list"], &given[2..]].concat(),
    ];
    for words in orders {
        let mut command = bare();
        command.args(&words);
        let object = Ran::of(command).await.succeeded().object();
        assert!(object.get("error").is_none(), "{words:?}: {object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_has_a_variable_and_the_command_line_wins() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    let variables: Vec<_> = program.given().chunks(2).collect();
    let with_variables = |words: &[&str]| {
        let mut command = bare();
        for pair in &variables {
            let name = pair[0]
                .to_str()
                .unwrap()
                .trim_start_matches('-')
                .replace('-', "_")
                .to_uppercase();
            command.env(format!("TOKENKEEP_{name}"), &pair[1]);
        }
        command
            .env("TOKENKEEP_SCOPE", "User.Read")
            .env("TOKENKEEP_JSON", "1")
            .env("TOKENKEEP_REQUEST_TIMEOUT", "9");
        command.args(words);
        command
    };
    let object = Ran::of(with_variables(&["login", "device-code"]))
        .await
        .succeeded()
        .object();
    assert_eq!(object["account"]["username"], "alice@contoso.test");
    let mut command = with_variables(&["token"]);
    command.env("TOKENKEEP_ACCOUNT", "nobody");
    assert_eq!(Ran::of(command).await.exit, Some(3));
    let mut command = with_variables(&["token", "--account", "alice@contoso.test"]);
    command.env("TOKENKEEP_ACCOUNT", "nobody");
    Ran::of(command).await.succeeded();
    let mut command = with_variables(&["token"]);
    command
        .env("TOKENKEEP_JSON", "0")
        .env("TOKENKEEP_CLIENT_SECRET_ENV", "NOT_SET");
    let ran = Ran::of(command).await;
    assert_eq!(ran.exit, Some(2), "{ran:?}");
    assert_eq!(ran.stdout, "", "JSON was turned off");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_variable_counts_as_unset() {
    let authority = strict_authority().await;
    let mut program = Program::of_fake(&authority);
    program
        .json(&["login", "device-code", "--scope", "User.Read"])
        .await;
    for name in [
        "STORE",
        "KEY",
        "AUTHORITY",
        "CLIENT_ID",
        "CLIENT_SECRET_ENV",
        "SCOPE",
        "ACCOUNT",
        "CA_CERT",
        "JSON",
        "REQUEST_TIMEOUT",
        "LOG",
        "PASSPHRASE",
    ] {
        program.set(&format!("TOKENKEEP_{name}"), "");
    }
    program.json(&["token", "--scope", "User.Read"]).await;
    let error = program.failing(&["token"], 2).await;
    assert!(error["message"].as_str().unwrap().contains("no scope"), "{error}");
    let mut command = bare();
    command.args(["--json", "token", "--scope", "s"]);
    for name in ["AUTHORITY", "CLIENT_ID"] {
        command.env(format!("TOKENKEEP_{name}"), "");
    }
    let error = Ran::of(command).await.object()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("is given"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_mean_something_elsewhere_are_refused() {
    let mut program = Program::new();
    for (option, value, wanted) in [
        ("--store", "sqlite:~/a.db", "$HOME"),
        ("--store", "sqlite::memory:", "memory:"),
        ("--key", "file:~/key", "$HOME"),
    ] {
        let other = program.given().to_vec();
        program.options(&[option, value]);
        let mut command = program.command(&["--json", "accounts"]);
        command.current_dir(program.folder());
        let ran = Ran::of(command).await;
        assert_eq!(ran.exit, Some(2), "{ran:?}");
        let object = ran.object();
        assert!(
            object["error"]["message"].as_str().unwrap().contains(wanted),
            "{object}"
        );
        assert_eq!(std::fs::read_dir(program.folder()).unwrap().count(), 0);
        let other: Vec<_> = other.iter().map(|word| word.to_str().unwrap()).collect();
        program.options(&other);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_in_the_object() {
    let program = Program::new();
    for (words, wanted) in [
        (&["import"][..], "<FILE>"),
        (&["keys"], "a command is missing"),
        (&["keys", "retire"], "<ID>"),
        (&["login"], "a command is missing"),
        (&[], "requires a subcommand"),
        (&["quarantine"], "KEY"),
        (&["token", "--scope"], "--scope"),
        (&["no-such-command"], "no such command"),
        (&["tokn"], "is token meant?"),
        (&["token", "--force-refesh"], "--force-refesh"),
    ] {
        let error = program.failing(words, 2).await;
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(wanted) && !message.contains('\n'), "{error}");
        assert!(!message.contains("error:"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_wrong_place_is_not_repeated() {
    let hexadecimal = "5a".repeat(32).replace('5', "f");
    let environment_key = format!("env:{hexadecimal}");
    for (option, value, secret) in [
        ("--key", "hunter2secret", "hunter2secret"),
        ("--key", "5aW/+secret0key=", "5aW/+secret0key="),
        ("--key", "env:s3cr3t-value!", "s3cr3t-value!"),
        ("--key", environment_key.as_str(), hexadecimal.as_str()),
        ("--client-secret-env", "s3cr3t-value!", "s3cr3t-value!"),
        ("--client-secret-env", "s3cr3tValue", "s3cr3tValue"),
        ("--client-certificate", "-----BEGIN hunter2", "hunter2"),
        ("--client-key", "-----BEGIN hunter2", "hunter2"),
        (
            "--client-assertion-file",
            "eyJhbGciOiJSUzI1NiJ9.hunter2",
            "hunter2",
        ),
        (
            "--authority",
            "https://user:hunter2@login.example.org/x",
            "hunter2",
        ),
        ("--authority", "https://user:hunter2@/x", "hunter2"),
        (
            "--authority",
            "entra:https://login.example.org/x?p=hunter2",
            "hunter2",
        ),
        ("--authority", "hunter2", "hunter2"),
        ("--store", "redis://user:hunter2/x@store.example.org", "hunter2"),
    ] {
        let variable = format!("TOKENKEEP_{}", option[2..].replace('-', "_").to_uppercase());
        let words = ["--json", "login", "client-credentials", "--scope", "s"];
        let others = [
            ("--authority", "https://login.example.org/x"),
            ("--client-id", "c"),
        ];
        for by_variable in [false, true] {
            let mut command = bare();
            command.args(words);
            for (name, other) in others.iter().filter(|(name, _)| *name != option) {
                command.args([name, other]);
            }
            if by_variable {
                command.env(&variable, value);
            } else {
                command.args([option, value]);
            }
            let ran = Ran::of(command).await;
            assert_eq!(ran.exit, Some(2), "{option} {value}: {ran:?}");
            assert!(
                !ran.stderr.contains(secret) && !ran.stdout.contains(secret),
                "{option} {value}: {ran:?}"
            );
            let object = ran.object();
            let message = object["error"]["message"].as_str().unwrap();
            assert!(
                message.contains(option) && message.contains(&variable),
                "{message}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_word_is_not_repeated() {
    let program = Program::new();
    let cases: [&[&str]; 7] = [
        &["hunter2"],
        &["login", "hunter2"],
        &["login", "password", "--username", "alice", "hunter2"],
        &["login", "on-behalf-of", "hunter2"],
        &["token", "-phunter2"],
        &["token", "--password=hunter2"],
        &["token", "--claims", "{}", "--", "hunter2"],
    ];
    for words in cases {
        for json in [true, false] {
            let mut all = words.to_vec();
            if json {
                all.insert(0, "--json");
            }
            let ran = program.run(&all).await;
            assert_eq!(ran.exit, Some(2), "{words:?}: {ran:?}");
            let shown = format!("{} {}", ran.stdout, ran.stderr);
            assert!(!shown.contains("hunter2"), "{words:?}: {shown}");
            assert!(shown.contains("error"), "{words:?}: {shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_exit_code_2_and_one_object() {
    let program = Program::new();
    let cases: [&[&str]; 12] = [
        &["no-such-command"],
        &["token", "--no-such-option"],
        &["token"],
        &["token", "--scope", "s"],
        &[
            "token",
            "--scope",
            "s",
            "--authority",
            "https://login.example.org/x",
        ],
        &["login", "client-credentials", "--scope", "s"],
        &["accounts", "--store", "redis"],
        &["accounts", "--key", "hunter2"],
        &["accounts", "--authority", "http://login.example.org/"],
        &["accounts", "--request-timeout", "0"],
        &["logout", "--family", "--forget"],
        &["keys", "retire", "not an id"],
    ];
    for words in cases {
        let error = program.failing(words, 2).await;
        assert_eq!(error["kind"], "usage", "{words:?}");
        let plain = program.run(words).await;
        assert_eq!((plain.exit, plain.stdout.as_str()), (Some(2), ""), "{words:?}");
        assert!(plain.stderr.starts_with("error: "), "{words:?}: {}", plain.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_given_in_place_of_its_source_is_not_repeated() {
    let key = "c2VjcmV0LWtleS1vZi0zMi1ieXRlcw";
    let mut program = Program::new();
    let by_variable = {
        let mut command = bare();
        command.env("TOKENKEEP_KEY", key).args(["--json", "accounts"]);
        Ran::of(command).await
    };
    program.options(&["--key", &format!("passphrase:{key}")]);
    for ran in [by_variable, program.run(&["--json", "accounts"]).await] {
        assert_eq!(ran.exit, Some(2));
        assert!(!ran.stderr.contains(key) && !ran.stdout.contains(key), "{ran:?}");
        assert!(
            ran.object()["error"]["message"]
                .as_str()
                .unwrap()
                .contains("file:PATH")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_names_the_exit_codes() {
    for words in [&["--help"][..], &["help"]] {
        let mut command = bare();
        command.args(words);
        let ran = Ran::of(command).await.succeeded();
        for line in [
            "3  interaction required",
            "4  a problem of the store",
            "5  the authority",
        ] {
            assert!(ran.stdout.contains(line), "{}", ran.stdout);
        }
    }
    assert_eq!(Ran::of(bare()).await.exit, Some(2), "no command");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_options_things_are_kept_in_the_users_folders() {
    let program = Program::new();
    let run = |words: &'static [&'static str]| {
        let mut command = bare();
        let (data, configuration) = (program.path("data"), program.path("config"));
        command
            .env("XDG_DATA_HOME", data)
            .env("XDG_CONFIG_HOME", configuration)
            .env("HOME", program.folder());
        command.args(words);
        Ran::of(command)
    };
    let before = run(&["--json", "inspect"]).await;
    assert_eq!(
        (before.exit, &before.object()["error"]["kind"]),
        (Some(4), &json!("store_missing"))
    );
    run(&["import", FIXTURE]).await.succeeded();
    let object = run(&["--json", "accounts"]).await.succeeded().object();
    assert_eq!(object["accounts"].as_array().unwrap().len(), 1);
    if cfg!(target_os = "linux") {
        assert!(program.path("data/tokenkeep/cache.db").is_file());
        assert!(program.path("config/tokenkeep/key").is_file());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_forgotten() {
    let mut program = Program::new();
    program.options(&["--store", "memory:"]);
    assert_eq!(program.json(&["import", FIXTURE]).await["accounts"], 1);
    assert_eq!(program.json(&["accounts"]).await, json!({ "accounts": [] }));
    assert!(!program.path("cache.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_people_are_shown_only_when_asked() {
    let program = Program::new();
    program.json(&["import", FIXTURE]).await;
    let plain = program.run(&["inspect"]).await.succeeded();
    let object = program.json(&["inspect"]).await;
    assert!(!plain.stderr.contains("alice") && !object.to_string().contains("alice"));
    assert!(
        program
            .run(&["inspect", "--show-names"])
            .await
            .stderr
            .contains("alice@contoso.test")
    );
    let record = object["records"]
        .as_array()
        .unwrap()
        .iter()
        .find(|record| record["kind"] == "user")
        .unwrap();
    assert_eq!(record["contents"]["refresh_tokens"], 1);
    assert_eq!((&record["codec"], &record["generation"]), (&json!(1), &json!(1)));
    assert_eq!(record["version"].as_str().unwrap().len(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_log_filter_is_told() {
    let mut program = Program::new();
    program.set("TOKENKEEP_LOG", "flows=verbose");
    assert_eq!(program.failing(&["accounts"], 2).await["kind"], "usage");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_choice_names_the_right_ones_and_no_variable_that_there_is_not() {
    let program = Program::new();
    let message = async |words: &[&str]| {
        let error = program.failing(words, 2).await;
        error["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        message(&["login", "browser", "--prompt", "foo"]).await,
        "--prompt: give one of login, consent, select-account, create"
    );
    let timeout = message(&["login", "browser", "--timeout", "0"]).await;
    assert_eq!(timeout, "--timeout: give whole seconds, 1 to 3600");
    let global = message(&["accounts", "--request-timeout", "0"]).await;
    assert!(
        global.starts_with("--request-timeout or TOKENKEEP_REQUEST_TIMEOUT: "),
        "{global}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_tells_of_every_request_when_asked() {
    let authority = strict_authority().await;
    let mut program = Program::of_fake(&authority);
    program.set("TOKENKEEP_LOG", "flows=info");
    let ran = program
        .run(&["login", "device-code", "--scope", "User.Read"])
        .await
        .succeeded();
    let line = ran.stderr.lines().find(|line| line.contains("token_request{"));
    let line = line.unwrap_or_else(|| panic!("no request in {}", ran.stderr));
    for field in ["grant=", "correlation_id=", "outcome="] {
        assert!(line.contains(field), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_without_a_refresh_token_warns() {
    const WARNING: &str = "warning: the authority gave no refresh token";
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    let login = ["login", "device-code", "--scope", "User.Read"];
    authority.script(Script::alter([Alteration::omit("refresh_token")]));
    let without = program.run(&login).await.succeeded();
    assert!(without.stderr.contains(WARNING), "{}", without.stderr);
    let with = program.run(&login).await.succeeded();
    assert!(!with.stderr.contains(WARNING), "{}", with.stderr);
}
