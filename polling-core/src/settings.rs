//! Settings of a program, from flags, environment, file and defaults, in this order of strength.
//!
//! Nothing is read here: the caller brings the flags it parsed, the environment it was given, and the file it read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use thiserror::Error;

/// One thing that can be set. Its flag is `--name`, its variable `POLLING_NAME`, its key in the file `name`, each with the
/// separator of its world.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The name in words, separated by hyphens.
    pub name: &'static str,
    /// The value when nobody sets it; `None`: there is none.
    pub default: Option<&'static str>,
    /// What it means, with units and bounds.
    pub help: &'static str,
    /// Whether its value must never be printed.
    pub secret: bool,
}

impl Setting {
    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.replace('-', "_").to_uppercase())
    }

    /// The key in the file.
    #[must_use]
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// What every environment variable of the programs begins with.
pub const PREFIX: &str = "POLLING_";

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The configuration file.
    File,
    /// Nobody set it.
    Default,
}

/// Why the settings cannot be used. Each names the setting as the person wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    /// The file has a key that no setting has.
    #[error("the file has an unknown key {key:?}{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A value is not what the setting takes.
    #[error("{setting} is {value:?}, but {expected}")]
    BadValue {
        /// How the setting was given: its flag, variable or key.
        setting: String,
        /// The value; redacted when it is a secret.
        value: String,
        /// What is expected, as a clause: "it must be …".
        expected: String,
    },
    /// A setting that is needed here was not given.
    #[error("{setting} is needed: {reason}")]
    Missing {
        /// Flag and variable of the setting.
        setting: String,
        /// Why it is needed.
        reason: String,
    },
}

/// The settings with their values.
#[derive(Debug, Clone)]
pub struct Settings {
    table: &'static [Setting],
    values: BTreeMap<&'static str, (String, Origin)>,
    warnings: Vec<String>,
}

impl Settings {
    /// Puts the layers together. `flags` are by setting name, `file` by key; `environment` may hold anything.
    ///
    /// # Errors
    ///
    /// All unknown keys of the file. An unknown variable with our prefix is only a [warning](Self::warnings), because
    /// orchestrators inject such names for a service called polling.
    pub fn resolve(
        table: &'static [Setting],
        flags: &BTreeMap<String, String>,
        environment: impl IntoIterator<Item = (String, String)>,
        file: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<SettingError>> {
        let mut warnings = Vec::new();
        let environment: BTreeMap<String, String> =
            environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        for name in environment.keys() {
            let known: Vec<String> = table.iter().map(Setting::variable).collect();
            if !known.contains(name) {
                let nearest = nearest(name, known.iter().map(String::as_str));
                warnings.push(format!("the environment variable {name} is unknown{}", did_you_mean(nearest.as_deref())));
            }
        }
        let keys: Vec<String> = table.iter().map(Setting::key).collect();
        let unknown: Vec<SettingError> = file
            .keys()
            .filter(|key| !keys.contains(key))
            .map(|key| SettingError::UnknownKey { key: key.clone(), nearest: nearest(key, keys.iter().map(String::as_str)) })
            .collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let mut values = BTreeMap::new();
        for setting in table {
            let given = flags
                .get(setting.name)
                .map(|value| (value, Origin::Flag))
                .or_else(|| environment.get(&setting.variable()).map(|value| (value, Origin::Environment)))
                .or_else(|| file.get(&setting.key()).map(|value| (value, Origin::File)))
                .map(|(value, origin)| (value.clone(), origin))
                .or_else(|| setting.default.map(|value| (value.to_owned(), Origin::Default)));
            if let Some(given) = given {
                values.insert(setting.name, given);
            }
        }
        Ok(Self { table, values, warnings })
    }

    /// What should be said in the log: variables that look like ours and are not.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The value, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// The value read by `parse`, if there is one. `expected` completes "…, but it must be".
    ///
    /// # Errors
    ///
    /// When `parse` does not take it.
    pub fn parsed<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        let Some((value, _)) = self.values.get(name) else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| self.bad_value(name, format!("it must be {expected}")))
    }

    /// An error about the value of a setting, naming it in the way it was given.
    #[must_use]
    pub fn bad_value(&self, name: &str, expected: impl Into<String>) -> SettingError {
        let (value, origin) = self.values.get(name).cloned().unwrap_or((String::new(), Origin::Default));
        let Some(setting) = self.table.iter().find(|setting| setting.name == name) else {
            return SettingError::BadValue { setting: name.to_owned(), value, expected: expected.into() };
        };
        let given = match origin {
            Origin::Flag | Origin::Default => format!("--{name}"),
            Origin::Environment => setting.variable(),
            Origin::File => format!("the key {}", setting.key()),
        };
        SettingError::BadValue { setting: given, value: shown(setting, &value), expected: expected.into() }
    }

    /// An error about a setting that was not given.
    #[must_use]
    pub fn missing(&self, name: &str, reason: impl Into<String>) -> SettingError {
        let variable = self.table.iter().find(|setting| setting.name == name).map(Setting::variable).unwrap_or_default();
        SettingError::Missing { setting: format!("--{name} (or {variable})"), reason: reason.into() }
    }

    /// The settings in force as a file in TOML, with where each comes from; secrets and passwords redacted.
    #[must_use]
    pub fn print(&self) -> String {
        let mut text = String::new();
        for setting in self.table {
            let line = match self.values.get(setting.name) {
                Some((value, origin)) => {
                    let origin = match origin {
                        Origin::Flag => "flag",
                        Origin::Environment => "environment",
                        Origin::File => "file",
                        Origin::Default => "default",
                    };
                    format!("{} = {:?} # {origin}", setting.key(), shown(setting, value))
                }
                None => format!("# {} is not set", setting.key()),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

fn shown(setting: &Setting, value: &str) -> String {
    if setting.secret { "(redacted)".to_owned() } else { redacted_url(value) }
}

/// The text with the password of a URL in it replaced, and otherwise as it is. What could be part of a password is taken for it: all
/// up to the last `@`, because people write `/`, `?`, `#` and `@` in passwords that should be percent-encoded.
#[must_use]
pub fn redacted_url(text: &str) -> String {
    let is_url = |colon: &usize| text[*colon..].starts_with("://");
    let (start, rest) = text.split_at(text.find(':').filter(is_url).map_or(0, |colon| colon + "://".len()));
    let rest = without_secret_parameters(rest);
    match rest.rsplit_once('@') {
        // Without the slashes it is either a mistake or a path.
        Some((user, host)) if !start.is_empty() || user.contains(':') => {
            let name = user.split([':', '/', '?', '#']).next().unwrap_or_default();
            format!("{start}{name}:(redacted)@{host}")
        }
        _ => format!("{start}{rest}"),
    }
}

fn without_secret_parameters(text: &str) -> String {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let mut shown = path.to_owned();
    for (index, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let secret = ["password", "secret", "token", "key", "oauthbearer"].iter().any(|word| name.to_lowercase().contains(word));
        // Whoever looks for the last `@` must still find that there was one.
        let redacted = if value.contains('@') { "@(redacted)" } else { "(redacted)" };
        shown.push(if index == 0 { '?' } else { '&' });
        shown.push_str(&if secret { format!("{name}={redacted}") } else { pair.to_owned() });
    }
    shown
}

/// Reads a length of time with its unit: `250ms`, `5s`, `2m` or `1h`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let unit_start = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_start);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// The known name that is nearest to what somebody wrote, if one is near enough to be meant.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|&(distance, name)| distance <= name.len().max(3) / 3)
        .min()
        .map(|(_, name)| name.to_owned())
}

pub(crate) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean {name:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Setting] = &[
        Setting { name: "listen", default: Some("127.0.0.1:8080"), help: "", secret: false },
        Setting { name: "data-dir", default: None, help: "", secret: false },
        Setting { name: "secret", default: None, help: "", secret: true },
    ];

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn resolve(
        flags: &[(&str, &str)],
        environment: &[(&str, &str)],
        file: &[(&str, &str)],
    ) -> Result<Settings, Vec<SettingError>> {
        Settings::resolve(TABLE, &map(flags), map(environment), &map(file))
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let file = [("listen", "file")];
        let environment = [("POLLING_LISTEN", "environment")];
        let listen = |settings: Result<Settings, _>| settings.expect("sound").get("listen").map(str::to_owned);
        assert_eq!(listen(resolve(&[("listen", "flag")], &environment, &file)).as_deref(), Some("flag"));
        assert_eq!(listen(resolve(&[], &environment, &file)).as_deref(), Some("environment"));
        assert_eq!(listen(resolve(&[], &[], &file)).as_deref(), Some("file"));
        assert_eq!(listen(resolve(&[], &[], &[])).as_deref(), Some("127.0.0.1:8080"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        let errors = resolve(&[], &[], &[("data_dri", "x")]).expect_err("unknown");
        assert_eq!(errors[0].to_string(), "the file has an unknown key \"data_dri\", did you mean \"data_dir\"?");
    }

    #[test]
    fn an_unknown_variable_is_only_warned_about() {
        let settings = resolve(&[], &[("POLLING_LITSEN", "x"), ("HOME", "/")], &[]).expect("sound");
        assert_eq!(settings.warnings(), ["the environment variable POLLING_LITSEN is unknown, did you mean \"POLLING_LISTEN\"?"]);
    }

    #[test]
    fn a_length_of_time_has_a_unit() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        for wrong in ["", "5", "s", "5 s", "-5s", "5.5s", "99999999999999999999s", "99999999999999999h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let settings = resolve(&[("secret", "hush")], &[], &[("data_dir", "postgres://me:hush@db/x?sslpassword=hush&a=b")]);
        let printed = settings.expect("sound").print();
        assert!(!printed.contains("hush"), "{printed}");
        assert!(printed.contains("postgres://me:(redacted)@db/x?sslpassword=(redacted)&a=b"), "{printed}");
        for (url, shown) in [
            ("postgres://me:hu/sh@db/x", "postgres://me:(redacted)@db/x"),
            ("postgres://me:hu?sh@db/x", "postgres://me:(redacted)@db/x"),
            ("postgres://me:hu#sh@db/x", "postgres://me:(redacted)@db/x"),
            ("postgres://me:hu@sh@db/x", "postgres://me:(redacted)@db/x"),
            ("postgres://me:hu?sh&hu@db/x?sslpassword=hush&a=b", "postgres://me:(redacted)@db/x?sslpassword=(redacted)&a=b"),
            ("postgres://me:hu?sh&key=hu@db/x", "postgres://me:(redacted)@(redacted)"),
            ("postgres:/me:hush@db/x", "postgres:(redacted)@db/x"),
            ("postgres:hu://sh@db/x", "postgres:(redacted)@db/x"),
            ("kafka://b/votes?secret=hu@sh&a=b", "kafka://b:(redacted)@(redacted)&a=b"),
            ("kafka://b/votes?user=me@corp&password=hush", "kafka://b:(redacted)@corp&password=(redacted)"),
            ("kafka://b,c:9092/votes?user=me%40corp&password=hush", "kafka://b,c:9092/votes?user=me%40corp&password=(redacted)"),
            ("/home/me@corp", "/home/me@corp"),
            ("http://a.example", "http://a.example"),
        ] {
            assert_eq!(redacted_url(url), shown, "{url}");
        }
    }
}
