//! What comes over the bus, and what is admitted when something does not.

use std::time::Duration;

use futures_util::StreamExt;
use polling_core::bus::kafka::KafkaBus;
use polling_core::bus::{Notice, Update, UpdateBus};
use polling_core::checkpoint::{Offset, Partition};

use crate::mock::{TOPIC, mock};
use crate::mock_tests;

mock_tests! {
    every_server_sees_every_update,
    what_the_brokers_did_not_take_is_admitted,
}

/// Bounds tests that wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

fn progress(number: usize) -> Update {
    Update::Progress { partition: Partition(0), next: Offset::ZERO.plus(number) }
}

async fn every_server_sees_every_update() {
    let (_brokers, cluster) = mock(3);
    let publishers: Vec<_> = (0..2).map(|_| KafkaBus::open(cluster.clone(), TOPIC).expect("opened")).collect();
    publishers[0].publish(vec![progress(0)]).await.expect("before anybody listens");
    publishers[0].flush().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let server = KafkaBus::open(cluster.clone(), TOPIC).expect("opened");
        streams.push(server.subscribe().await.expect("subscribed"));
    }
    for number in 1..=100 {
        publishers[number % 2].publish(vec![progress(number)]).await.expect("published");
    }
    for stream in &mut streams {
        let (mut seen, mut last) = (Vec::new(), [0, 0]);
        while seen.len() < 100 {
            let notice = tokio::time::timeout(PATIENCE, stream.next()).await.expect("it comes");
            let Some(Notice::Updates(updates)) = notice else { panic!("unexpected: {notice:?}") };
            for update in updates.iter() {
                let Update::Progress { next, .. } = update else { panic!("unexpected: {update:?}") };
                let number = usize::try_from(next.get()).expect("a small number");
                assert!(number > last[number % 2], "one publisher stays in order");
                last[number % 2] = number;
                seen.push(number);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=100).collect::<Vec<_>>());
    }
}

async fn what_the_brokers_did_not_take_is_admitted() {
    let (brokers, cluster) = mock(1);
    let bus = KafkaBus::open(cluster.with_setting("message.timeout.ms", "300").expect("a setting"), TOPIC).expect("opened");
    let mut stream = bus.subscribe().await.expect("subscribed");
    brokers.broker_down(-1).expect("all brokers go");
    bus.publish(vec![progress(1)]).await.expect("nobody waits for the brokers");
    // Long enough for the publication to be given up, which is what it waits for.
    bus.flush().await;
    brokers.broker_up(-1).expect("all brokers come");
    let mut has_lagged = false;
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            bus.publish(vec![progress(2)]).await.expect("published");
            match tokio::time::timeout(Duration::from_millis(500), stream.next()).await {
                Ok(Some(Notice::Lagged)) => has_lagged = true,
                Ok(Some(Notice::Updates(updates))) if updates[0] == progress(2) => return,
                Ok(other) => panic!("unexpected: {other:?}"),
                Err(_not_yet) => {}
            }
        }
    });
    told.await.expect("news comes again");
    assert!(has_lagged, "the loss was kept quiet");
}
