//! Settings: where they come from, and what is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use polling_server::api::access::IdentitySource;
use polling_server::command::{Action, Declined, Invocation, parse};
use polling_server::config::{Config, SETTINGS};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn invoke(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Invocation, Declined> {
    let arguments = ["polling-server"].iter().chain(arguments).map(OsString::from);
    let environment: BTreeMap<String, String> =
        environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    parse(SETTINGS, arguments, &environment)
}

fn check(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let invocation = invoke(arguments, environment).map_err(|declined| vec![declined.to_string()])?;
    Config::check(&invocation.settings).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn sound(arguments: &[&str], environment: &[(&str, &str)]) -> Config {
    check(&[&["--store", "memory:"], arguments].concat(), environment).expect("a sound configuration")
}

fn mistakes(arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    check(&[&["--store", "memory:"], arguments].concat(), environment).expect_err("a mistake")
}

fn file(folder: &Path, content: &str) -> String {
    let path = folder.join("file");
    std::fs::write(&path, content).expect("written");
    path.to_str().expect("text").to_owned()
}

#[test]
fn the_defaults_need_nothing() {
    let config = sound(&[], &[]);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.expect("on").to_string(), "127.0.0.1:8081");
    assert_eq!(config.access.identities, [IdentitySource::Declared, IdentitySource::Cookie]);
    assert!(config.secret.is_none() && config.access.tokens.is_none() && config.origins.is_empty());
    assert!(config.access.api_keys.is_empty());
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(
        folder.path(),
        "drain = \"1s\"\nbody_timeout = \"1s\"\nheader_timeout = \"1s\"\nconnections_max = 7\nallowed_origins = [\"https://a.example\", \"https://b.example\"]\n",
    );
    let environment = [("POLLING_CONFIG", path.as_str()), ("POLLING_DRAIN", "2s"), ("POLLING_BODY_TIMEOUT", "2s")];
    let config = sound(&["--drain", "3s"], &environment);
    let seconds = [config.drain, config.limits.body_timeout, config.limits.header_timeout].map(|time| time.as_secs());
    assert_eq!(seconds, [3, 2, 1]);
    assert_eq!((config.limits.connections_max, config.origins.len()), (7, 2));
}

#[test]
fn every_mistake_is_named_at_once_in_the_way_it_was_made() {
    let mistakes = mistakes(
        &["--listen", "nowhere", "--drain", "5", "--connections-max", "0", "--log", "memroy:"],
        &[("POLLING_VOTER_IDENTITY", "cookie,fingerprint"), ("POLLING_ALLOWED_ORIGINS", "*"), ("POLLING_LOG_FORMAT", "xml")],
    );
    let named = [
        "--listen is \"nowhere\"",
        "--drain is \"5\"",
        "--connections-max is \"0\"",
        "\"memroy:\" has an unknown scheme \"memroy\", did you mean \"memory\"?",
        "POLLING_VOTER_IDENTITY is ",
        "POLLING_ALLOWED_ORIGINS is \"*\"",
        "POLLING_LOG_FORMAT is \"xml\"",
    ];
    for named in named {
        assert!(mistakes.iter().any(|mistake| mistake.contains(named)), "{named} in {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), named.len(), "{mistakes:#?}");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_and_no_file_names_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "drian = \"1s\"");
    let declined = invoke(&["--config", &path], &[]).expect_err("unknown").to_string();
    assert!(declined.contains("unknown key \"drian\", did you mean \"drain\"?"), "{declined}");
    for content in ["config = \"other\"", "drain = 1.5", "[drain]", "drain ="] {
        let path = file(folder.path(), content);
        assert!(invoke(&["--config", &path], &[]).is_err(), "{content}");
    }
}

#[test]
fn a_flag_may_stand_behind_a_subcommand() {
    let invocation = invoke(&["config", "print", "--drain", "3s"], &[]).expect("understood");
    assert_eq!((invocation.action, invocation.settings.get("drain")), (Action::PrintConfiguration, Some("3s")));
    assert_eq!(invoke(&["healthcheck"], &[]).expect("understood").action, Action::CheckHealth);
}

#[test]
fn a_cluster_needs_a_secret_a_shared_store_and_a_shared_bus() {
    let cluster = ["--log", "kafka://broker/votes"];
    let without = mistakes(&cluster, &[]).join("\n");
    for needed in ["--secret-file (or POLLING_SECRET_FILE) is needed", "--store is \"memory:\"", "--bus is \"memory:\""] {
        assert!(without.contains(needed), "{needed} in {without}");
    }
    assert!(!mistakes(&cluster, &[("POLLING_SECRET", SECRET)]).join("\n").contains("is needed"));
    let postgres = check(&["--store", "postgres://polling@database/polling"], &[]).expect_err("a mistake").join("\n");
    assert!(postgres.contains("--secret-file (or POLLING_SECRET_FILE) is needed"), "{postgres}");
}

#[test]
fn a_secret_is_long_enough_and_from_one_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), &format!("{SECRET}\n"));
    assert!(sound(&["--secret-file", &path], &[]).secret.is_some());
    assert!(mistakes(&["--secret-file", &path], &[("POLLING_SECRET", SECRET)])[0].contains("only one can be"));
    let short = mistakes(&[], &[("POLLING_SECRET", "hush")]);
    assert_eq!(short, ["POLLING_SECRET is \"(redacted)\", but a secret must have at least 32 bytes"]);
    assert!(mistakes(&["--secret-file", "/nowhere"], &[])[0].contains("failed to read the secret from \"/nowhere\""));
}

#[test]
fn tokens_have_one_algorithm_and_a_key_that_fits_it() {
    assert!(mistakes(&["--voter-identity", "jwt"], &[])[0].contains("--jwt-secret-file"));
    let with_secret = [("POLLING_JWT_SECRET", SECRET)];
    let config = sound(&["--voter-identity", "jwt,cookie", "--jwt-audience", "polls"], &with_secret);
    assert!(config.access.tokens.is_some());
    assert!(mistakes(&["--jwt-algorithm", "RS256"], &with_secret)[0].contains("must be HS256"));
    assert!(mistakes(&["--jwt-algorithm", "none"], &with_secret)[0].contains("HS256, RS256, ES256 or EdDSA"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "not a key");
    let public_key = ["--jwt-public-key-file", path.as_str()];
    assert!(mistakes(&public_key, &[])[0].contains("--jwt-algorithm (or POLLING_JWT_ALGORITHM) is needed"));
    let unfit = mistakes(&[&public_key[..], &["--jwt-algorithm", "ES256"]].concat(), &[]);
    assert!(unfit[0].contains("a public key in PEM for this algorithm"), "{unfit:?}");
    assert_eq!(sound(&[], &with_secret).warnings.len(), 1, "a key that nothing uses");
}

#[test]
fn api_keys_come_from_a_list_or_a_file_and_are_not_guessable() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "0123456789abcdef\nfedcba9876543210\n");
    let access = sound(&["--api-keys-file", &path], &[]).access;
    assert!(access.admits("0123456789abcdef") && access.admits("fedcba9876543210") && !access.admits("0123456789abcdeF"));
    assert!(mistakes(&[], &[("POLLING_API_KEYS", "0123456789abcdef,short")])[0].contains("at least 16 characters"));
    let empty = file(folder.path(), "\n");
    assert_eq!(mistakes(&["--api-keys-file", &empty], &[]).len(), 1, "nobody is let in by accident");
}

#[test]
fn nothing_secret_is_printed() {
    let environment = [("POLLING_SECRET", SECRET), ("POLLING_API_KEYS", SECRET), ("POLLING_JWT_SECRET", SECRET)];
    let config = sound(&["--voter-identity", "jwt"], &environment);
    assert!(config.printed.contains("secret = \"(redacted)\" # environment"), "{}", config.printed);
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn help_shows_every_setting_with_its_variable() {
    let help = invoke(&["--help"], &[]).expect_err("help").to_string();
    for setting in SETTINGS {
        assert!(help.contains(&format!("--{}", setting.name)) && help.contains(&setting.variable()), "{}", setting.name);
    }
    assert!(help.contains("Examples:") && help.contains("Exit codes:"));
}
