//! What a caller is told about a vote, for everything that a broker may do with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use polling_core::conformance::fixture::{cast, poll};
use polling_core::sink::kafka::KafkaSink;
use polling_core::sink::{SinkError, VoteSink};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::mock::{TOPIC, crowd, mock, with};

use crate::mock_tests;

mock_tests! {
    the_votes_of_a_voter_stay_in_order_and_a_poll_spreads,
    a_vote_that_brokers_refuse_until_its_time_is_over_is_not_recorded,
    a_vote_that_was_never_sent_is_not_recorded,
    a_vote_that_was_sent_and_not_answered_is_unknown,
    a_vote_in_doubt_that_is_sent_again_is_recorded,
    a_vote_that_an_earlier_request_had_written_is_recorded,
    a_full_queue_is_refused_at_once,
    a_producer_that_cannot_go_on_is_replaced,
    closing_answers_everybody_and_refuses_the_next,
}

/// Bounds tests that wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// A short life for votes, so that tests of its end are short.
const SHORT: [(&str, &str); 1] = [("message.timeout.ms", "1500")];

fn is_not_recorded(error: &SinkError) -> bool {
    matches!(error, SinkError::NotRecorded { .. })
}

async fn the_votes_of_a_voter_stay_in_order_and_a_poll_spreads() {
    let (_brokers, cluster) = mock(4);
    let sink = KafkaSink::open(&cluster, TOPIC, 1000).expect("opened");
    let answers = join_all(crowd(60).into_iter().map(|vote| sink.record(vote))).await;
    let places: Vec<_> = answers.into_iter().map(|answer| answer.expect("recorded").position.expect("a place")).collect();
    assert_eq!(places.iter().map(|place| place.partition).collect::<BTreeSet<_>>().len(), 4, "a poll spreads");
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), 60, "every vote has a place of its own");

    let poll = poll(2, |_| {});
    let mut last = None;
    for id in 0..20 {
        let place = sink.record(cast(&poll, 7, id, &[1])).await.expect("recorded").position.expect("a place");
        if let Some(last) = last.replace(place) {
            assert!(place.partition == last.partition && place.offset > last.offset, "{place:?} after {last:?}");
        }
    }
}

async fn a_vote_that_brokers_refuse_until_its_time_is_over_is_not_recorded() {
    let (brokers, cluster) = mock(1);
    brokers.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 100]);
    let sink = KafkaSink::open(&with(cluster, &SHORT), TOPIC, 10).expect("opened");
    let error = sink.record(crowd(1)[0]).await.expect_err("refused");
    assert!(is_not_recorded(&error), "{error:?}");
}

async fn a_vote_that_was_never_sent_is_not_recorded() {
    let (brokers, cluster) = mock(1);
    brokers.broker_down(-1).expect("all brokers go");
    let sink = KafkaSink::open(&with(cluster, &SHORT), TOPIC, 10).expect("opened");
    let error = sink.record(crowd(1)[0]).await.expect_err("no broker");
    assert!(is_not_recorded(&error), "{error:?}");
}

async fn a_vote_that_was_sent_and_not_answered_is_unknown() {
    let (brokers, cluster) = mock(1);
    let sink = KafkaSink::open(&with(cluster, &SHORT), TOPIC, 10).expect("opened");
    sink.record(crowd(1)[0]).await.expect("recorded");
    brokers.broker_round_trip_time(-1, Duration::from_secs(20)).expect("slow brokers");
    let error = sink.record(crowd(2)[1]).await.expect_err("too slow");
    assert!(matches!(error, SinkError::Unknown { .. }), "{error:?}");
}

async fn a_vote_in_doubt_that_is_sent_again_is_recorded() {
    let (brokers, cluster) = mock(1);
    let sink = KafkaSink::open(&cluster, TOPIC, 10).expect("opened");
    brokers.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    );
    sink.record(crowd(1)[0]).await.expect("recorded in the end");
}

async fn a_vote_that_an_earlier_request_had_written_is_recorded() {
    let (brokers, cluster) = mock(1);
    let sink = KafkaSink::open(&cluster, TOPIC, 10).expect("opened");
    brokers.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER]);
    let recorded = sink.record(crowd(1)[0]).await.expect("it is in the log");
    assert_eq!(recorded.position, None, "and nobody says where");
}

async fn a_full_queue_is_refused_at_once() {
    let (brokers, cluster) = mock(1);
    brokers.broker_down(-1).expect("all brokers go");
    let sink = Arc::new(KafkaSink::open(&with(cluster, &SHORT), TOPIC, 3).expect("opened"));
    let votes = crowd(4);
    let waiting = join_all(votes[..3].iter().map(|&vote| sink.record(vote)));
    let refused = async { sink.record(votes[3]).await };
    // Polled in this order, so the three are in the queue when the fourth comes.
    let (waiting, refused) = tokio::join!(waiting, refused);
    assert_eq!(refused, Err(SinkError::NotRecorded { reason: "the queue is full".to_owned() }));
    assert!(waiting.iter().all(|answer| answer.as_ref().is_err_and(is_not_recorded)), "{waiting:?}");
}

async fn a_producer_that_cannot_go_on_is_replaced() {
    let (brokers, cluster) = mock(1);
    let sink = KafkaSink::open(&with(cluster, &[("linger.ms", "0")]), TOPIC, 100).expect("opened");
    sink.record(crowd(1)[0]).await.expect("recorded");
    brokers.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    let answer = sink.record(crowd(2)[1]).await;
    assert!(answer.is_err(), "the producer is dead: {answer:?}");
    let recorded = tokio::time::timeout(PATIENCE, async {
        let mut refused = 0;
        while let Err(error) = sink.record(crowd(3)[2]).await {
            assert!(is_not_recorded(&error), "what a dead producer refuses was not sent: {error:?}");
            refused += 1;
            tokio::task::yield_now().await;
        }
        refused
    });
    recorded.await.expect("a new producer takes its place");
    for vote in crowd(20) {
        sink.record(vote).await.expect("recorded");
    }
}

async fn closing_answers_everybody_and_refuses_the_next() {
    let (_brokers, cluster) = mock(2);
    let sink = Arc::new(KafkaSink::open(&with(cluster, &[("linger.ms", "200")]), TOPIC, 1000).expect("opened"));
    let calls: Vec<_> = crowd(50)
        .into_iter()
        .map(|vote| {
            let sink = Arc::clone(&sink);
            tokio::spawn(async move { sink.record(vote).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(sink.waiting() >= 50, "all of them wait");
    tokio::time::timeout(PATIENCE, sink.close()).await.expect("closed");
    for call in calls {
        call.await.expect("the call ends").expect("recorded");
    }
    let error = sink.record(crowd(1)[0]).await.expect_err("closed");
    assert_eq!(error, SinkError::NotRecorded { reason: "the log is closed".to_owned() });
}
