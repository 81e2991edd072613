//! Reads a JSON object field by field and notes everything that is wrong with it.
//!
//! This is the slow way, taken only to explain a body that the fast way could not read.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use polling_core::clock::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::problem::{FIELD_ERRORS_MAX, FieldError, Problem};
use super::problem_kind::ProblemKind;

/// What to say of a time that cannot be read.
const NOT_A_TIME: &str = "must be a time as in RFC 3339, such as 2030-01-31T12:00:00Z, from 1970 to 9999";

/// What to say of an object that names a field twice.
pub(crate) const NAMED_TWICE: &str = "must not name a field twice";

/// Reads any JSON; a problem for what is none.
pub(crate) fn any_json(bytes: &Bytes) -> Result<Value, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Problem::with_detail(ProblemKind::InvalidJson, "The body is not encoded in UTF-8."))?;
    serde_json::from_str(text).map_err(|error| Problem::with_detail(ProblemKind::InvalidJson, error.to_string()))
}

/// What is wrong with a body, in the order in which it was found.
#[derive(Debug)]
pub(crate) struct FieldErrors {
    noted: Vec<FieldError>,
    /// More are not noted.
    noted_max: usize,
}

impl Default for FieldErrors {
    fn default() -> Self {
        Self::at_most(FIELD_ERRORS_MAX)
    }
}

impl FieldErrors {
    /// None yet, and of more than `noted_max`, or of any at all, the first.
    pub(crate) fn at_most(noted_max: usize) -> Self {
        Self { noted: Vec::new(), noted_max: noted_max.max(1) }
    }

    /// Notes an error.
    pub(crate) fn push(&mut self, pointer: impl Into<String>, detail: impl Into<Cow<'static, str>>) {
        if self.noted.len() < self.noted_max {
            self.noted.push(FieldError::at(pointer, detail));
        }
    }

    /// How many are noted.
    pub(crate) const fn len(&self) -> usize {
        self.noted.len()
    }

    /// Whether an error at this pointer, or within what it names, is noted.
    pub(crate) fn covers(&self, pointer: &str) -> bool {
        self.noted.iter().filter_map(|error| error.pointer.as_deref()).any(|noted| {
            let rest = noted.strip_prefix(pointer).or_else(|| pointer.strip_prefix(noted));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Whether nothing is wrong.
    pub(crate) const fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }

    /// The problem. When nothing was found in a body that the fast way could not read, a field came twice: that is the one
    /// thing that the slow way cannot see.
    pub(crate) fn into_problem(mut self) -> Problem {
        if self.is_empty() {
            self.push("", NAMED_TWICE);
        }
        Problem::validation(self.noted)
    }
}

/// Something that is written as an object: what serde derives would take an array of the fields in their order, too.
pub(crate) struct ObjectOf<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ObjectOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<fn() -> T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = ObjectOf<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<ObjectOf<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(object)).map(ObjectOf)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// Whether something is an object that names a field twice, which a [`Value`] does not tell any more.
pub(crate) struct NamesTwice(pub(crate) bool);

impl<'de> Deserialize<'de> for NamesTwice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;

        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = NamesTwice;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<NamesTwice, A::Error> {
                let (mut names, mut twice) = (HashSet::new(), false);
                while let Some((name, _)) = object.next_entry::<String, IgnoredAny>()? {
                    twice |= !names.insert(name);
                }
                Ok(NamesTwice(twice))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<NamesTwice, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(NamesTwice(false))
            }

            fn visit_str<E>(self, _: &str) -> Result<NamesTwice, E> {
                Ok(NamesTwice(false))
            }

            fn visit_bool<E>(self, _: bool) -> Result<NamesTwice, E> {
                Ok(NamesTwice(false))
            }

            fn visit_i64<E>(self, _: i64) -> Result<NamesTwice, E> {
                Ok(NamesTwice(false))
            }

            fn visit_u64<E>(self, _: u64) -> Result<NamesTwice, E> {
                Ok(NamesTwice(false))
            }

            fn visit_f64<E>(self, _: f64) -> Result<NamesTwice, E> {
                Ok(NamesTwice(false))
            }

            fn visit_unit<E>(self) -> Result<NamesTwice, E> {
                Ok(NamesTwice(false))
            }
        }

        deserializer.deserialize_any(NamesVisitor)
    }
}

/// An object whose fields are read one by one.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    pointer: String,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The object at `pointer`; notes an error and answers `None` for anything else.
    pub(crate) fn new(value: &'a Value, pointer: &str, errors: &mut FieldErrors) -> Option<Self> {
        let Value::Object(object) = value else {
            errors.push(pointer, "must be an object");
            return None;
        };
        Some(Self { object, pointer: pointer.to_owned(), known: Vec::new() })
    }

    /// The pointer to a field.
    pub(crate) fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"))
    }

    /// A field that must be there.
    pub(crate) fn required(&mut self, name: &'static str, errors: &mut FieldErrors) -> Option<&'a Value> {
        self.known.push(name);
        let value = self.object.get(name);
        if value.is_none() {
            errors.push(self.pointer(name), "is required");
        }
        value
    }

    /// A field that may be absent or null.
    pub(crate) fn optional(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A text that may be absent or null.
    pub(crate) fn optional_text(&mut self, name: &'static str, errors: &mut FieldErrors) -> Option<&'a str> {
        let value = self.optional(name)?;
        let text = value.as_str();
        if text.is_none() {
            errors.push(self.pointer(name), "must be a string");
        }
        text
    }

    /// A boolean that may be absent or null.
    pub(crate) fn optional_boolean(&mut self, name: &'static str, errors: &mut FieldErrors) -> Option<bool> {
        let value = self.optional(name)?;
        let boolean = value.as_bool();
        if boolean.is_none() {
            errors.push(self.pointer(name), "must be true or false");
        }
        boolean
    }

    /// A time that may be absent or null.
    pub(crate) fn optional_time(&mut self, name: &'static str, errors: &mut FieldErrors) -> Option<Timestamp> {
        let text = self.optional_text(name, errors)?;
        let time = Timestamp::parse(text);
        if time.is_none() {
            errors.push(self.pointer(name), NOT_A_TIME);
        }
        time
    }

    /// Notes every field that was not asked for.
    pub(crate) fn refuse_others(&self, errors: &mut FieldErrors) {
        for name in self.object.keys().filter(|name| !self.known.contains(&name.as_str())) {
            errors.push(self.pointer(name), "is not a known field");
        }
    }
}
