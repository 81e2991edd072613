//! Brokers that do not let a client in: how that shows, and which settings to look at.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Who the client says it is.
const NAME: &str =
    "librdkafka.security.protocol, librdkafka.sasl.mechanism, librdkafka.sasl.username and librdkafka.sasl.password";
/// Which certificates are trusted and shown.
const TLS: &str = "librdkafka.security.protocol and librdkafka.ssl.*";
/// How it speaks at all.
const PROTOCOL: &str = "librdkafka.security.protocol, librdkafka.sasl.* and librdkafka.ssl.*";

/// A connection that ends within this time has not served anybody.
const SOON_MS: u64 = 2000;

/// Why brokers do not let a client in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What the client says about it, and which settings it may be about.
    pub(crate) reason: String,
    /// Whether a broker has said so itself. Otherwise it hung up, which one that is stopping does, too.
    pub(crate) is_lasting: bool,
}

impl Refusal {
    /// What an error that a client reports says about it, if anything.
    pub(crate) fn of_error(error: &KafkaError, text: &str) -> Option<Self> {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code()? {
            Code::SaslAuthenticationFailed => Some(Self::new(text, NAME, true)),
            // The code stands for connections that broke meanwhile, too, and for tokens that somebody else did not give.
            Code::Authentication => Some(Self::new(text, NAME, is_answer(text))),
            Code::SSL => Some(Self::new(text, TLS, true)),
            _ => Self::of_text(text),
        }
    }

    /// What a line of a client's log says about it, if anything: a broker that expects another protocol hangs up without an answer, which
    /// the client takes for no error.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let is_suspected = ["security.protocol", "PLAINTEXT broker listener"].iter().any(|words| text.contains(words));
        (is_suspected || is_hung_up(text)).then(|| Self::new(text, PROTOCOL, false))
    }

    /// A client that cannot even be made with its settings.
    pub(crate) fn of_settings(error: &KafkaError) -> Option<Self> {
        matches!(error, KafkaError::ClientCreation(_) | KafkaError::ClientConfig(..))
            .then(|| Self::new(&error.to_string(), PROTOCOL, true))
    }

    /// Something that the user of the client may not do.
    pub(crate) fn of_right(error: &KafkaError) -> Option<Self> {
        let KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) =
            error
        else {
            return None;
        };
        Some(Self::new(&error.to_string(), NAME, true))
    }

    fn new(text: &str, settings: &str, is_lasting: bool) -> Self {
        Self { reason: format!("{text}; look at {settings} in POLLING_LOG and POLLING_BUS"), is_lasting }
    }
}

/// Whether a broker was asked, and has answered.
fn is_answer(text: &str) -> bool {
    let is_asked = text.contains("SASL authentication error") && !text.contains("SaslAuthenticateRequest failed");
    is_asked || text.contains("mechanism handshake failed: Broker:")
}

/// Whether a broker hung up as soon as it was connected. The client means to add what that may be caused by, and does not:
/// <https://github.com/confluentinc/librdkafka/blob/v2.12.1/src/rdkafka_broker.c#L507> looks for the word in the format of the text.
fn is_hung_up(text: &str) -> bool {
    let Some((what, state)) = text.rsplit_once("(after ") else { return false };
    let Some((milliseconds, state)) = state.split_once("ms in state ") else { return false };
    let is_soon = milliseconds.parse::<u64>().is_ok_and(|milliseconds| milliseconds < SOON_MS);
    what.contains("Disconnected") && is_soon && ["UP", "APIVERSION_QUERY"].iter().any(|early| state.starts_with(early))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: RDKafkaErrorCode, text: &str) -> Option<bool> {
        Refusal::of_error(&KafkaError::Global(code), text).map(|refusal| refusal.is_lasting)
    }

    #[test]
    fn what_a_broker_answers_lasts_and_a_connection_that_breaks_is_a_hint() {
        use RDKafkaErrorCode as Code;
        let wrong = "b1:9092/bootstrap: SASL authentication error: Authentication failed: Invalid username or password";
        assert_eq!(refusal(Code::Authentication, wrong), Some(true));
        let other = "b1: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: GSSAPI";
        assert_eq!(refusal(Code::Authentication, other), Some(true));
        let broken = "b1: SASL authentication error: SaslAuthenticateRequest failed: Local: Broker transport failure";
        assert_eq!(refusal(Code::Authentication, broken), Some(false));
        assert_eq!(refusal(Code::SSL, "b1: SSL handshake failed: certificate verify failed"), Some(true));
        let plain = "b1: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?";
        assert_eq!(refusal(Code::BrokerTransportFailure, plain), Some(false));
        for (end, expected) in [
            ("Disconnected: connection closed by peer (after 3ms in state UP)", Some(false)),
            (
                "Disconnected: connection closed by peer: receive 0 (after 9ms in state APIVERSION_QUERY, 4 identical error(s) suppressed)",
                Some(false),
            ),
            ("Disconnected: connection closed by peer (after 86400000ms in state UP)", None),
            ("Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)", None),
        ] {
            assert_eq!(refusal(Code::BrokerTransportFailure, &format!("b1:9092/bootstrap: {end}")), expected, "{end}");
        }
        let hint =
            "b1: Disconnected: verify that security.protocol is correctly configured, broker might require SASL authentication";
        let hint = Refusal::of_text(hint).expect("it is one");
        assert!(hint.reason.contains("librdkafka.sasl.*") && hint.reason.contains("POLLING_LOG") && !hint.is_lasting);
    }
}
