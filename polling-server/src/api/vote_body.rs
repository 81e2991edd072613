//! The body of a vote: read without a copy when it is right, explained in full when it is not.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use poem_openapi::Object;
use polling_core::model::{Choices, OptionId, Poll, VoteId, VoteKind};
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value;
use uuid::Uuid;

use super::fields::{FieldErrors, Fields, ObjectOf, any_json};
use super::problem::Problem;

/// Characters of a `voter_id`, at most: room for an address or the subject of a token.
pub(crate) const VOTER_ID_CHARS_MAX: usize = 128;
/// What to say of a vote id that is none.
pub(crate) const NOT_A_UUID: &str = "must be a UUID with hyphens";
/// What to say of a voter id that is too short or too long.
pub(crate) const NOT_A_VOTER_ID: &str = "must have 1 to 128 characters";

/// A vote, as a client sends it.
#[derive(Debug, Object)]
#[oai(rename = "Vote", write_only_all, deny_unknown_fields)]
#[expect(dead_code, reason = "it describes the body in the document and is never made")]
pub(crate) struct VoteRequest {
    /// The chosen options by `id`: distinct, from 1 to the poll's `max_choices` of them.
    #[oai(validator(min_items = 1, max_items = 100, unique_items, minimum(value = "1"), maximum(value = "100")))]
    pub(crate) choices: Vec<u8>,
    /// Who votes, said by a caller that knows its voters. Absent: the cookie `polling_voter` tells, and is set when there is none.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub(crate) voter_id: Option<String>,
    /// The name of this vote, made by the client before it sends it: sending the same vote again can then never count twice.
    pub(crate) vote_id: Option<Uuid>,
}

/// A vote that keeps the rules that do not depend on the poll.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VoteBody<'a> {
    /// The chosen options.
    #[serde(deserialize_with = "choices")]
    pub(crate) choices: Choices,
    /// Who votes.
    #[serde(borrow, default)]
    pub(crate) voter_id: Option<VoterName<'a>>,
    /// The name of the vote.
    #[serde(default, deserialize_with = "vote_id")]
    pub(crate) vote_id: Option<VoteId>,
}

/// A voter's name of 1 to [`VOTER_ID_CHARS_MAX`] characters, borrowed from the body unless it is written with escapes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VoterName<'a>(pub(crate) Cow<'a, str>);

/// Whether this can be a voter's name.
pub(crate) fn is_voter_name(text: &str) -> bool {
    // The bytes bound the characters, so the common case need not count them.
    !text.is_empty() && (text.len() <= VOTER_ID_CHARS_MAX || text.chars().count() <= VOTER_ID_CHARS_MAX)
}

/// Reads a UUID in its usual form and no other. Letters are of either case: there are clients whose library writes capitals.
pub(crate) fn parse_vote_id(text: &str) -> Option<VoteId> {
    if text.len() != 36 {
        return None;
    }
    Uuid::try_parse(text).ok().map(VoteId)
}

impl<'a> VoteBody<'a> {
    /// Reads the body of a vote for this poll.
    pub(crate) fn read(bytes: &'a Bytes, poll: &Poll) -> Result<Self, Problem> {
        // Looked at once as a whole, because it has many short strings.
        let text = str::from_utf8(bytes).unwrap_or_default();
        match serde_json::from_str::<ObjectOf<Self>>(text) {
            Ok(ObjectOf(vote)) if poll.can_take(VoteKind::Cast(vote.choices)) => Ok(vote),
            _ => Err(explain(bytes, poll)),
        }
    }
}

fn explain(bytes: &Bytes, poll: &Poll) -> Problem {
    let value = match any_json(bytes) {
        Ok(value) => value,
        Err(problem) => return problem,
    };
    let mut errors = FieldErrors::default();
    explain_vote(&value, "", poll, &mut errors);
    errors.into_problem()
}

/// Reads the vote at `pointer`, noting everything that is wrong; `None` when something is.
pub(crate) fn explain_vote<'a>(value: &'a Value, pointer: &str, poll: &Poll, errors: &mut FieldErrors) -> Option<VoteBody<'a>> {
    let mut fields = Fields::new(value, pointer, errors)?;
    let choices = fields.required("choices", errors);
    let choices = choices.and_then(|value| explain_choices(value, &fields.pointer("choices"), poll, errors));
    let voter_id = fields.optional_text("voter_id", errors);
    if voter_id.is_some_and(|name| !is_voter_name(name)) {
        errors.push(fields.pointer("voter_id"), NOT_A_VOTER_ID);
    }
    let vote_id = fields.optional_text("vote_id", errors).map(parse_vote_id);
    if vote_id == Some(None) {
        errors.push(fields.pointer("vote_id"), NOT_A_UUID);
    }
    fields.refuse_others(errors);
    if !errors.is_empty() {
        return None;
    }
    Some(VoteBody {
        choices: choices?,
        voter_id: voter_id.map(|name| VoterName(Cow::Borrowed(name))),
        vote_id: vote_id.flatten(),
    })
}

fn explain_choices(value: &Value, pointer: &str, poll: &Poll, errors: &mut FieldErrors) -> Option<Choices> {
    let Value::Array(items) = value else {
        errors.push(pointer, "must be an array");
        return None;
    };
    let choices_max = usize::from(poll.max_choices);
    if !(1..=choices_max).contains(&items.len()) {
        errors.push(pointer, format!("must have 1 to {choices_max} items in this poll"));
    }
    let mut chosen = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let option = item.as_u64().and_then(OptionId::new).filter(|option| option.index() < poll.options.len());
        match option {
            None => {
                let detail = format!("must be the id of an option of the poll, 1 to {}", poll.options.len());
                errors.push(format!("{pointer}/{index}"), detail);
            }
            Some(option) if chosen.contains(&option) => {
                errors.push(format!("{pointer}/{index}"), "must differ from the other choices");
            }
            Some(option) => chosen.push(option),
        }
    }
    Choices::new(chosen)
}

fn choices<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Choices, D::Error> {
    struct ChoicesVisitor;

    impl<'de> Visitor<'de> for ChoicesVisitor {
        type Value = Choices;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("distinct option ids")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Choices, A::Error> {
            let mut failure = None;
            let options = std::iter::from_fn(|| match items.next_element::<u64>() {
                Ok(Some(number)) => {
                    let option = OptionId::new(number);
                    if option.is_none() {
                        failure = Some(A::Error::custom("no option id"));
                    }
                    option
                }
                Ok(None) => None,
                Err(error) => {
                    failure = Some(error);
                    None
                }
            });
            let choices = Choices::new(options);
            match failure {
                Some(failure) => Err(failure),
                None => choices.ok_or_else(|| A::Error::custom("no distinct choices")),
            }
        }
    }

    deserializer.deserialize_seq(ChoicesVisitor)
}

fn vote_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<VoteId>, D::Error> {
    let text = Option::<VoterName<'de>>::deserialize(deserializer)?;
    text.map(|text| parse_vote_id(&text.0).ok_or_else(|| D::Error::custom("no UUID"))).transpose()
}

impl<'de: 'a, 'a> Deserialize<'de> for VoterName<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = VoterName<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string of 1 to 128 characters")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                if is_voter_name(text) { Ok(VoterName(Cow::Borrowed(text))) } else { Err(E::custom("no voter id")) }
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if is_voter_name(text) { Ok(VoterName(Cow::Owned(text.to_owned()))) } else { Err(E::custom("no voter id")) }
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}
