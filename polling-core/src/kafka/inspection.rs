//! The topic of votes while programs use it: somebody may change it, or take it away.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::error::KafkaError;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::topic::{administrator, ask, settings, weaknesses};
use super::view::Layout;
use super::{Cluster, Telemetry, TopicError, TopicRules, View, Weakness};

/// How often the topic is looked at: how late a change of it is known at most, but for what the brokers take to answer.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How soon a topic that seems to be missing is looked at again.
const MISSING_INTERVAL: Duration = Duration::from_secs(1);
/// How often in a row it must be missing: a broker that has just started may not know all topics yet.
const MISSING_LOOKS: u32 = 3;

/// How long a topic keeps its records; `None` where it keeps them for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) time: Option<Duration>,
    /// Bytes of each partition.
    pub(crate) bytes: Option<u64>,
}

impl Retention {
    fn of(setting: impl Fn(&str) -> Option<String>) -> Self {
        // A negative number is for ever.
        let number = |name: &str| setting(name).and_then(|value| value.parse::<u64>().ok());
        Self { time: number("retention.ms").map(Duration::from_millis), bytes: number("retention.bytes") }
    }
}

/// What one look at the topic finds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Look {
    Missing,
    There { weaknesses: Vec<Weakness>, retention: Retention },
}

/// What is known of the topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    /// Why no vote may be put into it.
    refusal: Option<String>,
    weaknesses: Vec<Weakness>,
    retention: Retention,
    /// How often in a row it was missing.
    missing_looks: u32,
}

impl Standing {
    /// A topic that is changed while it is used raises an alarm, and goes on being used: to refuse votes would make a slip of an
    /// administrator an outage. One that was gone and is there again is held to the rules as at a start.
    fn after(&self, name: &str, look: Look) -> Self {
        match look {
            Look::Missing => {
                let missing_looks = self.missing_looks.saturating_add(1);
                let is_gone = missing_looks >= MISSING_LOOKS;
                let refusal = if is_gone { Some(format!("the topic {name:?} is gone")) } else { self.refusal.clone() };
                Self { refusal, missing_looks, ..self.clone() }
            }
            Look::There { weaknesses, retention } => {
                let is_refused = self.refusal.is_some() && !weaknesses.is_empty();
                let refusal = is_refused.then(|| weak(name, &weaknesses));
                Self { refusal, weaknesses, retention, missing_looks: 0 }
            }
        }
    }

    /// Says what has changed to an operator.
    fn announce(&self, name: &str, now: &Self) {
        if self.refusal != now.refusal {
            match &now.refusal {
                Some(reason) => tracing::error!(topic = name, reason, "no vote can be recorded"),
                None => tracing::info!(topic = name, "the topic of votes is there again, and as it must be"),
            }
        }
        if self.weaknesses != now.weaknesses {
            if now.weaknesses.is_empty() {
                tracing::info!(topic = name, "the topic of votes is as it must be again");
            } else {
                tracing::error!(topic = name, reason = weak(name, &now.weaknesses), "the topic of votes was changed");
            }
        }
    }
}

/// As at a start, which such a topic would prevent.
fn weak(name: &str, weaknesses: &[Weakness]) -> String {
    TopicError::Weak { topic: name.to_owned(), weaknesses: weaknesses.to_vec() }.to_string()
}

/// Looks at a topic of votes again and again, from the time when it was found to be as it must be until this is dropped.
pub(crate) struct Inspection {
    topic: String,
    view: Arc<View>,
    standing: watch::Receiver<Standing>,
    task: AbortHandle,
}

impl Inspection {
    /// Begins, in a task of the runtime that this is called in.
    pub(crate) fn start(cluster: &Cluster, rules: TopicRules) -> Result<Self, KafkaError> {
        let inspector = Inspector {
            view: Arc::new(View::open(cluster, &rules.name, "inspection")?),
            admin: administrator(cluster)?,
            standing: watch::Sender::default(),
            rules,
        };
        let (topic, view) = (inspector.rules.name.clone(), Arc::clone(&inspector.view));
        let standing = inspector.standing.subscribe();
        Ok(Self { topic, view, standing, task: tokio::spawn(inspector.run()).abort_handle() })
    }

    /// What it looks through.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// Why no vote may be put into the topic, if that is so.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.standing.borrow().refusal.clone()
    }

    /// Which rules the topic breaks while it is used, if any.
    pub(crate) fn warning(&self) -> Option<String> {
        let standing = self.standing.borrow();
        (!standing.weaknesses.is_empty()).then(|| weak(&self.topic, &standing.weaknesses))
    }

    /// How long the topic keeps its records, as far as is known.
    pub(crate) fn retention(&self) -> Retention {
        self.standing.borrow().retention
    }

    /// Waits until that is something else than `known`; for ever when nobody looks any more.
    pub(crate) async fn retention_changed(&self, known: Retention) {
        if self.standing.clone().wait_for(|standing| standing.retention != known).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Inspection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The side that asks.
struct Inspector {
    view: Arc<View>,
    admin: AdminClient<Telemetry>,
    standing: watch::Sender<Standing>,
    rules: TopicRules,
}

impl Inspector {
    async fn run(self) {
        loop {
            match self.look().await {
                Ok(look) => self.note(look),
                // What keeps a program from its brokers is seen and said elsewhere.
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the topic of votes cannot be looked at");
                }
            }
            let missing_looks = self.standing.borrow().missing_looks;
            let is_doubtful = (1..MISSING_LOOKS).contains(&missing_looks);
            tokio::time::sleep(if is_doubtful { MISSING_INTERVAL } else { LOOK_INTERVAL }).await;
        }
    }

    async fn look(&self) -> Result<Look, KafkaError> {
        let Some(layout) = ask(&self.view, View::layout).await? else { return Ok(Look::Missing) };
        show_replicas(layout);
        let settings = settings(&self.admin, &self.rules.name).await?;
        let setting = |name: &str| settings.get(name).and_then(|entry| entry.value.clone());
        let weaknesses = if self.rules.accept_weak { Vec::new() } else { weaknesses(&self.rules, layout, setting) };
        Ok(Look::There { weaknesses, retention: Retention::of(setting) })
    }

    fn note(&self, look: Look) {
        let before = self.standing.borrow().clone();
        let now = before.after(&self.rules.name, look);
        before.announce(&self.rules.name, &now);
        show(&now);
        self.standing.send_replace(now);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float, and these numbers are far below its precision")]
fn show_replicas(layout: Layout) {
    metrics::gauge!("polling_topic_in_sync_replicas_min").set(layout.in_sync as f64);
    metrics::gauge!("polling_topic_under_replicated_partitions").set(layout.under_replicated as f64);
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float, and these numbers are far below its precision")]
fn show(standing: &Standing) {
    metrics::gauge!("polling_topic_broken_rules").set(standing.weaknesses.len() as f64);
    metrics::gauge!("polling_topic_refused").set(if standing.refusal.is_some() { 1.0 } else { 0.0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Retention = Retention { time: Some(Duration::from_secs(604_800)), bytes: None };

    fn there(weaknesses: &[&'static str]) -> Look {
        let weakness = |setting| Weakness { setting, found: "1".to_owned(), wanted: "at least 2".to_owned() };
        Look::There { weaknesses: weaknesses.iter().copied().map(weakness).collect(), retention: WEEK }
    }

    fn after(looks: impl IntoIterator<Item = Look>) -> Standing {
        looks.into_iter().fold(Standing::default(), |standing, look| standing.after("votes", look))
    }

    #[test]
    fn a_topic_that_is_changed_raises_an_alarm_and_goes_on() {
        let standing = after([there(&[]), there(&["min.insync.replicas"])]);
        assert_eq!((standing.refusal, standing.weaknesses.len()), (None, 1));
        assert_eq!(after([there(&["min.insync.replicas"]), there(&[])]), Standing { retention: WEEK, ..Standing::default() });
    }

    #[test]
    fn a_topic_is_gone_when_it_stays_away() {
        let away = || (0..MISSING_LOOKS - 1).map(|_| Look::Missing);
        assert_eq!(after(away().chain([there(&[])]).chain(away())).refusal, None);
        assert_eq!(after(away().chain([Look::Missing])).refusal.as_deref(), Some("the topic \"votes\" is gone"));
    }

    #[test]
    fn a_topic_that_comes_back_is_held_to_the_rules() {
        let gone = || (0..MISSING_LOOKS).map(|_| Look::Missing);
        let refusal = after(gone().chain([there(&["min.insync.replicas"])])).refusal.expect("it is refused");
        assert!(refusal.contains("min.insync.replicas is 1 and must be at least 2"), "{refusal}");
        let mended = after(gone().chain([there(&["min.insync.replicas"]), there(&[])]));
        assert_eq!(mended, Standing { retention: WEEK, ..Standing::default() });
    }

    #[test]
    fn retention_is_what_the_topic_says_and_a_negative_number_is_for_ever() {
        let of = |ms: &str, bytes: &str| {
            let (ms, bytes) = (ms.to_owned(), bytes.to_owned());
            Retention::of(move |name| if name == "retention.ms" { Some(ms.clone()) } else { Some(bytes.clone()) })
        };
        assert_eq!(of("604800000", "-1"), WEEK);
        assert_eq!(of("-1", "1024"), Retention { time: None, bytes: Some(1024) });
    }
}
