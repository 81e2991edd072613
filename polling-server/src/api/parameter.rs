//! Parameters of paths and queries that never fail while they are read, so that a handler names all that are wrong at once.

use std::borrow::Cow;
use std::str::FromStr;

use poem::Request;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseFromParameter, ParseResult, Type};
use polling_core::model::{PollId, PollState, VoteId};

use super::problem::{FieldError, Problem};
use super::vote_body::{NOT_A_UUID, NOT_A_VOTER_ID, VOTER_ID_CHARS_MAX, is_voter_name, parse_vote_id};

/// Characters of a text to search for, at most: as many as a question has.
const SEARCH_TEXT_CHARS_MAX: usize = 500;

/// Something that a parameter can be.
pub(crate) trait Parameter: Send + Sync + Sized {
    /// Reads it; the error completes "the value …".
    ///
    /// # Errors
    ///
    /// When the text is not one.
    fn parse(text: &str) -> Result<Self, Cow<'static, str>>;

    /// How the document describes it.
    fn schema() -> MetaSchema;
}

/// What was given for a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given<P>(pub(crate) Result<P, Cow<'static, str>>);

impl<P: Parameter> Type for Given<P> {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        P::schema().ty.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(P::schema()))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::empty())
    }
}

impl<P: Parameter> ParseFromParameter for Given<P> {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        Ok(Self(P::parse(value)))
    }
}

/// The first query parameter of this name, decoded, for requests that are not read by the API document.
pub(crate) fn query_parameter(request: &Request, name: &str) -> Option<String> {
    let parameters: Vec<(String, String)> = request.params().unwrap_or_default();
    parameters.into_iter().find(|(given, _)| given == name).map(|(_, value)| value)
}

/// A number of nothing but digits: the parser of the standard library would take a plus sign, too.
pub(crate) fn whole_number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Collects what is wrong with the query parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct QueryErrors(Vec<FieldError>);

impl QueryErrors {
    /// Takes a parameter that need not be there; notes what is wrong with it.
    pub(crate) fn take<P>(&mut self, name: &'static str, given: Option<Given<P>>) -> Option<P> {
        match given?.0 {
            Ok(value) => Some(value),
            Err(detail) => {
                self.refuse(name, detail);
                None
            }
        }
    }

    /// Notes that something is wrong with a parameter.
    pub(crate) fn refuse(&mut self, name: &'static str, detail: impl Into<Cow<'static, str>>) {
        self.0.push(FieldError::of_parameter(name, detail));
    }

    /// Goes on when nothing is wrong.
    pub(crate) fn check(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::validation(self.0)) }
    }
}

/// The identifier of a poll in a path.
impl Parameter for PollId {
    fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        Self::parse(text).ok_or(Cow::Borrowed("must be the identifier of a poll"))
    }

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "uuid")
    }
}

impl Parameter for PollState {
    fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        Self::parse(text).ok_or(Cow::Borrowed("must be scheduled, open or closed"))
    }

    fn schema() -> MetaSchema {
        words(&["scheduled", "open", "closed"])
    }
}

/// The order of a list of polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sort {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
    /// Most voters first.
    Votes,
}

impl Parameter for Sort {
    fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        match text {
            "newest" => Ok(Self::Newest),
            "oldest" => Ok(Self::Oldest),
            "votes" => Ok(Self::Votes),
            _ => Err(Cow::Borrowed("must be newest, oldest or votes")),
        }
    }

    fn schema() -> MetaSchema {
        words(&["newest", "oldest", "votes"])
    }
}

/// How many items a page has: 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageLimit(pub(crate) usize);

impl Parameter for PageLimit {
    fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        whole_number(text)
            .filter(|number| (1..=100).contains(number))
            .map(Self)
            .ok_or(Cow::Borrowed("must be a whole number from 1 to 100"))
    }

    fn schema() -> MetaSchema {
        MetaSchema { minimum: Some(1.0), maximum: Some(100.0), ..MetaSchema::new("integer") }
    }
}

/// A text to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SearchText(pub(crate) String);

impl Parameter for SearchText {
    fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        if text.contains('\0') {
            return Err(Cow::Borrowed("must not contain the character U+0000"));
        }
        if text.chars().count() > SEARCH_TEXT_CHARS_MAX {
            return Err(Cow::Owned(format!("must have at most {SEARCH_TEXT_CHARS_MAX} characters")));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> MetaSchema {
        MetaSchema { max_length: Some(SEARCH_TEXT_CHARS_MAX), ..MetaSchema::new("string") }
    }
}

/// A text that is looked at by whoever knows what it should be: a cursor, a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) String);

impl Parameter for Token {
    fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        Ok(Self(text.to_owned()))
    }

    fn schema() -> MetaSchema {
        MetaSchema::new("string")
    }
}

/// A voter that the caller declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VoterId(pub(crate) String);

impl Parameter for VoterId {
    fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        if is_voter_name(text) { Ok(Self(text.to_owned())) } else { Err(Cow::Borrowed(NOT_A_VOTER_ID)) }
    }

    fn schema() -> MetaSchema {
        MetaSchema { min_length: Some(1), max_length: Some(VOTER_ID_CHARS_MAX), ..MetaSchema::new("string") }
    }
}

impl Parameter for VoteId {
    fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        parse_vote_id(text).ok_or(Cow::Borrowed(NOT_A_UUID))
    }

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "uuid")
    }
}

fn words(words: &[&'static str]) -> MetaSchema {
    MetaSchema { enum_items: words.iter().map(|&word| word.into()).collect(), ..MetaSchema::new("string") }
}
