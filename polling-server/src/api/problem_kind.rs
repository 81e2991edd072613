//! Every kind of problem that the API answers with, and what it means to a client.

use poem::http::StatusCode;

/// A kind of problem. Its name is the last part of the `type` of a problem document and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The body is not JSON.
    InvalidJson,
    /// The body or a query parameter breaks the schema or a rule.
    Validation,
    /// No such poll.
    PollNotFound,
    /// No such receipt.
    ReceiptNotFound,
    /// No such path.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// No answer has a media type that the client accepts.
    NotAcceptable,
    /// The body has no media type that is read here.
    UnsupportedMediaType,
    /// The body is too large.
    TooLarge,
    /// The poll has not opened.
    PollNotOpen,
    /// The poll is closed.
    PollClosed,
    /// The voter has a vote already, or the vote id was used before.
    AlreadyVoted,
    /// The poll does not let a voter change the vote.
    ChangeNotAllowed,
    /// There is no vote to retract.
    NoVote,
    /// The results are not shown to this viewer.
    ResultsHidden,
    /// Credentials are missing or not valid.
    Unauthorized,
    /// The credentials are not the right ones.
    Forbidden,
    /// Too many requests or connections.
    RateLimited,
    /// The change was certainly not made.
    NotRecorded,
    /// Whether the change was made is not known.
    OutcomeUnknown,
    /// The data cannot be read just now.
    Unavailable,
    /// A fault of the server.
    Internal,
}

/// What is the same in every problem of a kind.
#[derive(Debug, Clone, Copy)]
pub struct ProblemFacts {
    /// The last part of `type`.
    pub name: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// `title`: a short text that is the same for every problem of the kind.
    pub title: &'static str,
    /// What it means, in sentences.
    pub meaning: &'static str,
    /// What a client should do, in sentences.
    pub advice: &'static str,
}

impl ProblemKind {
    /// All kinds, in the order in which they are documented.
    pub const ALL: [Self; 22] = [
        Self::InvalidJson,
        Self::Validation,
        Self::PollNotFound,
        Self::ReceiptNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::UnsupportedMediaType,
        Self::TooLarge,
        Self::PollNotOpen,
        Self::PollClosed,
        Self::AlreadyVoted,
        Self::ChangeNotAllowed,
        Self::NoVote,
        Self::ResultsHidden,
        Self::Unauthorized,
        Self::Forbidden,
        Self::RateLimited,
        Self::NotRecorded,
        Self::OutcomeUnknown,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Finds the kind with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.facts().name == name)
    }

    /// The kind that a status names without anything else being known; `None` when there is none, or when it could be several.
    #[must_use]
    pub const fn of_status(status: StatusCode) -> Option<Self> {
        Some(match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::NOT_ACCEPTABLE => Self::NotAcceptable,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::INTERNAL_SERVER_ERROR => Self::Internal,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            _ => return None,
        })
    }

    /// What is the same in every problem of this kind.
    #[must_use]
    pub const fn facts(self) -> ProblemFacts {
        match self {
            Self::InvalidJson
            | Self::Validation
            | Self::NotAcceptable
            | Self::UnsupportedMediaType
            | Self::TooLarge
            | Self::MethodNotAllowed => self.facts_of_the_request(),
            Self::PollNotFound | Self::ReceiptNotFound | Self::NotFound => self.facts_of_the_address(),
            Self::PollNotOpen | Self::PollClosed | Self::AlreadyVoted | Self::ChangeNotAllowed | Self::NoVote => {
                self.facts_of_the_vote()
            }
            Self::ResultsHidden | Self::Unauthorized | Self::Forbidden | Self::RateLimited => self.facts_of_the_client(),
            Self::NotRecorded | Self::OutcomeUnknown | Self::Unavailable | Self::Internal => self.facts_of_the_server(),
        }
    }

    const fn facts_of_the_request(self) -> ProblemFacts {
        match self {
            Self::InvalidJson => ProblemFacts {
                name: "invalid-json",
                status: StatusCode::BAD_REQUEST,
                title: "The body is not JSON",
                meaning: "The body of the request cannot be read as JSON in UTF-8.",
                advice: "Correct the body. Sending the same bytes again leads to the same answer.",
            },
            Self::NotAcceptable => ProblemFacts {
                name: "not-acceptable",
                status: StatusCode::NOT_ACCEPTABLE,
                title: "No acceptable media type",
                meaning: "The Accept header excludes every media type that this resource has.",
                advice: "Accept application/json (text/csv for an export), or leave the header out.",
            },
            Self::UnsupportedMediaType => ProblemFacts {
                name: "unsupported-media-type",
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                title: "The body must be JSON",
                meaning: "A body is read only under Content-Type: application/json, in UTF-8.",
                advice: "Set the header Content-Type to application/json.",
            },
            Self::TooLarge => ProblemFacts {
                name: "too-large",
                status: StatusCode::PAYLOAD_TOO_LARGE,
                title: "The body is too large",
                meaning: "The body has more bytes than this resource reads: 4 KiB for a vote, 128 KiB for a poll, 1 MiB for a \
                          batch of votes.",
                advice: "Send less; split a batch into several.",
            },
            Self::MethodNotAllowed => ProblemFacts {
                name: "method-not-allowed",
                status: StatusCode::METHOD_NOT_ALLOWED,
                title: "The method is not allowed here",
                meaning: "The path exists and does not take this method.",
                advice: "Use one of the methods that the Allow header names.",
            },
            _ => ProblemFacts {
                name: "validation",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "The request breaks a rule",
                meaning: "The body is JSON but breaks the schema or a rule, or a query parameter does. The member errors names \
                          everything that is wrong: each with a JSON pointer into the body, or the name of the parameter.",
                advice: "Correct what errors names. Sending the same request again leads to the same answer.",
            },
        }
    }

    const fn facts_of_the_address(self) -> ProblemFacts {
        match self {
            Self::PollNotFound => ProblemFacts {
                name: "poll-not-found",
                status: StatusCode::NOT_FOUND,
                title: "No such poll",
                meaning: "There is no poll with this identifier, or it was deleted.",
                advice: "Check the identifier. The receipts of a deleted poll can still be asked for.",
            },
            Self::ReceiptNotFound => ProblemFacts {
                name: "receipt-not-found",
                status: StatusCode::NOT_FOUND,
                title: "No such receipt",
                meaning: "This server never made the receipt, or it was changed on the way.",
                advice: "Use the receipt exactly as it was answered to the vote.",
            },
            _ => ProblemFacts {
                name: "not-found",
                status: StatusCode::NOT_FOUND,
                title: "Nothing here",
                meaning: "The path does not name anything of this API.",
                advice: "See /docs for the paths that there are.",
            },
        }
    }

    const fn facts_of_the_vote(self) -> ProblemFacts {
        match self {
            Self::PollNotOpen => ProblemFacts {
                name: "poll-not-open",
                status: StatusCode::CONFLICT,
                title: "The poll is not open yet",
                meaning: "The poll takes votes only from its opens_at on.",
                advice: "Vote again after opens_at.",
            },
            Self::PollClosed => ProblemFacts {
                name: "poll-closed",
                status: StatusCode::CONFLICT,
                title: "The poll is closed",
                meaning: "The poll takes no votes any more. The vote was not counted.",
                advice: "Do not vote again.",
            },
            Self::AlreadyVoted => ProblemFacts {
                name: "already-voted",
                status: StatusCode::CONFLICT,
                title: "Already voted",
                meaning: "The voter has a counted vote and the poll does not allow changing it, or the vote_id was used before \
                          for another choice. Nothing was changed.",
                advice: "Where the poll allows changing, use a new vote_id for a new choice. Otherwise do not vote again.",
            },
            Self::ChangeNotAllowed => ProblemFacts {
                name: "change-not-allowed",
                status: StatusCode::CONFLICT,
                title: "A vote in this poll is final",
                meaning: "The poll was created with allow_change false, so a vote can be neither changed nor retracted.",
                advice: "Do not try again.",
            },
            _ => ProblemFacts {
                name: "no-vote",
                status: StatusCode::CONFLICT,
                title: "There is no vote to retract",
                meaning: "This voter has no counted vote in the poll.",
                advice: "Nothing needs to be done: the voter is not counted.",
            },
        }
    }

    const fn facts_of_the_client(self) -> ProblemFacts {
        match self {
            Self::ResultsHidden => ProblemFacts {
                name: "results-hidden",
                status: StatusCode::FORBIDDEN,
                title: "The results are hidden",
                meaning: "The poll shows its results only after its close, or only to viewers who have a counted vote.",
                advice: "Wait for the close, vote first, pass the receipt of a counted vote, or use the owner token.",
            },
            Self::Unauthorized => ProblemFacts {
                name: "unauthorized",
                status: StatusCode::UNAUTHORIZED,
                title: "Credentials are needed",
                meaning: "The request needs credentials and has none, or a token that is not valid (any more).",
                advice: "Send Authorization: Bearer with the owner token, the API key, or a fresh JSON Web Token.",
            },
            Self::Forbidden => ProblemFacts {
                name: "forbidden",
                status: StatusCode::FORBIDDEN,
                title: "Not allowed",
                meaning: "The credentials do not allow this: it is not the owner token of this poll, not an API key of this server, \
                          or an origin that is not admitted.",
                advice: "Use the right credentials. Sending the same request again leads to the same answer.",
            },
            _ => ProblemFacts {
                name: "rate-limited",
                status: StatusCode::TOO_MANY_REQUESTS,
                title: "Too many requests",
                meaning: "This client has used up its share for the moment.",
                advice: "Wait for as many seconds as the Retry-After header says.",
            },
        }
    }

    const fn facts_of_the_server(self) -> ProblemFacts {
        match self {
            Self::NotRecorded => ProblemFacts {
                name: "not-recorded",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "Not recorded",
                meaning: "The server could not take the change. It was certainly not made and never will be.",
                advice: "Send it again after Retry-After; a vote with the same vote_id.",
            },
            Self::OutcomeUnknown => ProblemFacts {
                name: "outcome-unknown",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "The outcome is unknown",
                meaning: "The server does not know whether the change was made.",
                advice: "Send a vote again after Retry-After, with the same vote_id: it can never count twice.",
            },
            Self::Unavailable => ProblemFacts {
                name: "unavailable",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "Unavailable for the moment",
                meaning: "The data cannot be read just now. Nothing was changed.",
                advice: "Ask again after Retry-After.",
            },
            _ => ProblemFacts {
                name: "internal",
                status: StatusCode::INTERNAL_SERVER_ERROR,
                title: "A fault of the server",
                meaning: "Something happened that the server does not expect. Its log says more.",
                advice: "Report it if it stays. A vote may be sent again with the same vote_id.",
            },
        }
    }
}
