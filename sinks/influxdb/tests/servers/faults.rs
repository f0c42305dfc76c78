//! Servers that misbehave and those that refuse us: what follows from each, one clear line, and every reading that was
//! not rejected is there exactly once afterwards.

use std::sync::Arc;
use std::time::Duration;

use kstar_model::reading::Reading;
use kstar_sink::sink::{Batch, DeliveryError, Sink, SinkConfig};
use kstar_sink::testing::{full_reading, readings};
use kstar_sink_influxdb::InfluxdbConfig;
use tokio::time::Instant;

use super::databases::expected;
use super::http::{Gate, Reaction};
use super::world::{Influxdb, PATIENCE, Running, config, context};

/// The ways that a request can take: each must see the same in every trouble.
const WAYS: [&str; 3] = [
    "org = 'home'\nbucket = 'solar'\ntoken = 'hunter2'",
    "org = 'home'\nbucket = 'solar'\ntoken = 'hunter2'\ngzip = true",
    "database = 'solar'\nusername = 'kstar'\npassword = 'hunter2'",
];

fn section(gate: &Gate, lines: &str) -> InfluxdbConfig {
    config(&format!("url = '{}'\n{lines}", gate.url()))
}

/// Delivers to a server that is well, which a busy machine may make slow.
async fn arrive(sink: &mut dyn Sink, readings: &[Arc<Reading>]) {
    let begin = Instant::now();
    while let Err(error) = sink.deliver(&Batch::new(readings)).await {
        let slow = matches!(error, DeliveryError::Unreachable { .. });
        assert!(slow && begin.elapsed() < PATIENCE, "{error:?}");
    }
}

/// Delivers in that trouble, then without it; gives what was said in it.
async fn in_trouble(trouble: Reaction, expected_error: impl Fn(&DeliveryError) -> bool) {
    let influxdb = Influxdb::start().await;
    let gate = Gate::start(influxdb.server.port, |_| Reaction::Forward).await;
    let all = readings("roof", 10);
    for (number, way) in WAYS.into_iter().enumerate() {
        let measurement = format!("m{number}");
        let lines = format!("{way}\nmeasurement = '{measurement}'\ndelivery.timeout = '2s'");
        let config = section(&gate, &lines);
        let mut sink = config.open(&context()).unwrap();
        arrive(&mut *sink, &all[..3]).await;
        let reaction = trouble.clone();
        gate.now(move |_| reaction.clone());
        // The second time on the way that sees the headers.
        for _ in 0..2 {
            let error = sink.deliver(&Batch::new(&all[3..])).await.unwrap_err();
            assert!(expected_error(&error), "{way}: {trouble:?}: {error:?}");
            let said = error.to_string();
            assert!(said.contains(&gate.url()), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
            assert!(
                !said.contains(char::is_control) && said.len() < 1000,
                "{said}"
            );
        }
        gate.now(|_| Reaction::Forward);
        arrive(&mut *sink, &all[3..]).await;
        assert_eq!(
            influxdb.points(&measurement).await,
            expected(&all, &[]),
            "{way}"
        );
    }
}

fn unreachable(part: &str) -> impl Fn(&DeliveryError) -> bool {
    move |error| matches!(error, DeliveryError::Unreachable { reason, .. } if reason.contains(part))
}

fn refused(part: &str) -> impl Fn(&DeliveryError) -> bool {
    move |error| matches!(error, DeliveryError::Refused { reason, .. } if reason.contains(part))
}

fn rejected(part: &str) -> impl Fn(&DeliveryError) -> bool {
    move |error| matches!(error, DeliveryError::Rejected { reason } if reason.contains(part))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_breaks_off_is_tried_again() {
    in_trouble(Reaction::Reset, unreachable("broken off")).await;
    in_trouble(Reaction::LoseAnswer, unreachable("broken off")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_is_tried_again() {
    in_trouble(Reaction::Hang, unreachable("not answered in time")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_enough_for_now_is_tried_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let part = status.to_string();
        in_trouble(Reaction::answer(status, "busy"), unreachable(&part)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lets_nobody_in_keeps_the_readings_waiting() {
    for (status, part) in [
        (401, "does not know us"),
        (403, "right"),
        (404, "has no"),
        (405, "405"),
    ] {
        in_trouble(
            Reaction::answer(
                status,
                r#"{"code":"x","message":"with hunter2\u0007\n no"}"#,
            ),
            refused(part),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_influxdb_is_not_taken_for_one() {
    let page = "<html><body>Please log in with hunter2</body></html>";
    for (status, part) in [
        (200, "not the write endpoint"),
        (202, "202"),
        (400, "is not InfluxDB"),
    ] {
        in_trouble(Reaction::answer(status, page), refused(part)).await;
    }
    let tls = "Client sent an HTTP request to an HTTPS server.\n";
    in_trouble(Reaction::answer(400, tls), refused("https://")).await;
    in_trouble(Reaction::answer(200, ""), refused("not the write endpoint")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_that_is_too_much_is_said_so() {
    in_trouble(Reaction::answer(413, "too large"), |error| {
        matches!(error, DeliveryError::TooLarge { .. })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_of_a_line_is_shown_short() {
    let version_3 = r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"invalid column type for column 'pv_power', expected iox::column_type::field::string","line_number":1,"original_line":"x"}]}"#;
    for status in [400, 422] {
        in_trouble(Reaction::answer(status, version_3), rejected("pv_power")).await;
    }
    let long = format!("unable to parse '{}'", "é".repeat(100_000));
    in_trouble(Reaction::answer(400, &long), rejected("unable to parse")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_an_end_is_cut_short() {
    let influxdb = Influxdb::start().await;
    let gate = Gate::start(influxdb.server.port, |_| Reaction::Endless(401)).await;
    let config = section(&gate, WAYS[2]);
    let mut sink = config.open(&context()).unwrap();
    let error = sink
        .deliver(&Batch::new(&readings("roof", 1)))
        .await
        .unwrap_err();
    assert!(refused("moremore")(&error), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_and_one_that_the_server_has_closed_costs_no_delivery() {
    let influxdb = Influxdb::start().await;
    // influxdb2 keeps its own.
    for way in &WAYS[1..] {
        let gate = Gate::start(influxdb.server.port, |_| Reaction::Forward).await;
        let mut sink = section(&gate, way).open(&context()).unwrap();
        let reading = readings("roof", 1);
        for _ in 0..3 {
            sink.deliver(&Batch::new(&reading)).await.unwrap();
        }
        assert_eq!(gate.connections(), 1, "{way}");
        gate.now(|_| Reaction::ForwardOnce);
        for _ in 0..3 {
            sink.deliver(&Batch::new(&reading)).await.unwrap();
        }
        assert_eq!(gate.connections(), 3, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_turns_out_to_be_dead_costs_no_delivery() {
    let influxdb = Influxdb::start().await;
    for way in &WAYS[1..] {
        for trouble in [Reaction::Reset, Reaction::LoseAnswer] {
            let gate = Gate::start(influxdb.server.port, |_| Reaction::Forward).await;
            let mut sink = section(&gate, way).open(&context()).unwrap();
            let reading = readings("roof", 1);
            sink.deliver(&Batch::new(&reading)).await.unwrap();
            let mut once = Some(trouble);
            gate.now(move |_| once.take().unwrap_or(Reaction::Forward));
            sink.deliver(&Batch::new(&reading)).await.unwrap();
            assert_eq!((gate.requests().len(), gate.connections()), (3, 2), "{way}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer_is_an_answer() {
    let influxdb = Influxdb::start().await;
    let gate = Gate::start(influxdb.server.port, |_| Reaction::Slow).await;
    let all = readings("roof", 10);
    for (number, way) in WAYS.into_iter().enumerate() {
        let config = section(&gate, &format!("{way}\nmeasurement = 'm{number}'"));
        let mut sink = config.open(&context()).unwrap();
        sink.deliver(&Batch::new(&all)).await.unwrap();
        let points = influxdb.points(&format!("m{number}")).await;
        assert_eq!(points, expected(&all, &[]), "{way}");
    }
}

/// A date, and thirty seconds after it.
const HTTP_DATES: &str =
    "Date: Sun, 22 Nov 2026 10:00:00 GMT\r\nRetry-After: Sun, 22 Nov 2026 10:00:30 GMT\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_a_server_wants_to_be_left_alone_is_heeded() {
    for (headers, wanted) in [
        ("Retry-After: 30\r\n", Some(30)),
        (HTTP_DATES, Some(30)),
        ("Retry-After: 0\r\n", None),
        ("Retry-After: Mon, 01 Jan 2024 00:00:00 GMT\r\n", None),
        ("Retry-After: soon\r\n", None),
        ("", None),
    ] {
        for status in [429, 503] {
            let gate =
                Gate::start(0, move |_| Reaction::Answer(status, headers, String::new())).await;
            for way in WAYS {
                let mut sink = section(&gate, way).open(&context()).unwrap();
                let reading = readings("roof", 1);
                // influxdb2, which does the first try to a bucket, keeps no headers.
                let _ = sink.deliver(&Batch::new(&reading)).await;
                let Err(DeliveryError::Unreachable { retry_after, .. }) =
                    sink.deliver(&Batch::new(&reading)).await
                else {
                    panic!("{headers}");
                };
                assert_eq!(
                    retry_after,
                    wanted.map(Duration::from_secs),
                    "{headers} {way}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_told_and_not_followed() {
    let influxdb = Influxdb::start().await;
    let elsewhere = Gate::start(influxdb.server.port, |_| Reaction::Forward).await;
    let location: &'static str = format!("Location: {}/api/v2/write\r\n", elsewhere.url()).leak();
    for status in [301, 302, 307, 308] {
        in_trouble(
            Reaction::Answer(status, location, String::new()),
            refused("write into `url` where it should go"),
        )
        .await;
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_that_is_refused_is_dropped_and_the_rest_is_delivered() {
    let influxdb = Influxdb::start().await;
    for (number, way) in WAYS
        .into_iter()
        .enumerate()
        .filter(|(number, _)| *number != 1)
    {
        let all = readings("roof", 100);
        let bad = all[57].time.0.to_string();
        let gate = Gate::start(influxdb.server.port, move |request| {
            if String::from_utf8_lossy(&request.body).contains(&format!(" {bad}\n")) {
                return Reaction::answer(400, r#"{"error":"unable to parse"}"#);
            }
            Reaction::Forward
        })
        .await;
        let config = section(&gate, &format!("{way}\nmeasurement = 'm{number}'"));
        let running = Running::start(&config);
        running.send(all.clone());
        running
            .until("all is settled", |now| {
                now.counts.delivered + now.counts.rejected == 100
            })
            .await;
        let counts = running.end().await;
        assert_eq!((counts.delivered, counts.rejected), (99, 1));
        let mut rest = all;
        rest.remove(57);
        let points = influxdb.points(&format!("m{number}")).await;
        assert_eq!(points, expected(&rest, &[]), "{way}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_too_large_is_halved_until_it_is_taken() {
    let influxdb = Influxdb::start().await;
    let gate = Gate::start(influxdb.server.port, |request| {
        if request.lines() > 10 {
            return Reaction::answer(413, "");
        }
        Reaction::Forward
    })
    .await;
    let all = readings("roof", 100);
    let running = Running::start(&section(&gate, WAYS[0]));
    running.send(all.clone());
    running.delivered(100).await;
    let counts = running.end().await;
    assert_eq!((counts.delivered, counts.rejected), (100, 0));
    assert_eq!(influxdb.points("inverter").await, expected(&all, &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_worst_of_days_every_reading_arrives_once() {
    let influxdb = Influxdb::start().await;
    let mut troubles = [
        Reaction::LoseAnswer,
        Reaction::Reset,
        Reaction::answer(503, "busy"),
        Reaction::Hang,
        Reaction::answer(429, ""),
        Reaction::LoseAnswer,
    ]
    .into_iter();
    let mut calls = 0;
    let gate = Gate::start(influxdb.server.port, move |_| {
        calls += 1;
        match calls % 3 {
            0 => troubles.next().unwrap_or(Reaction::Forward),
            _ => Reaction::Forward,
        }
    })
    .await;
    let running = Running::start(&section(
        &gate,
        &format!("{}\ndelivery.timeout = '1s'\ndelivery.batch = 20", WAYS[0]),
    ));
    let all = readings("roof", 200);
    for readings in all.chunks(50) {
        running.send(readings.iter().cloned());
    }
    running.delivered(200).await;
    running.end().await;
    assert_eq!(influxdb.points("inverter").await, expected(&all, &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_server_that_is_said() {
    let port = super::world::free_port();
    for (url, part) in [
        (format!("http://127.0.0.1:{port}"), "refuses the connection"),
        ("http://no-such-host.invalid".to_owned(), "does not resolve"),
    ] {
        let config = config(&format!("url = '{url}'\n{}", WAYS[0]));
        let mut sink = config.open(&context()).unwrap();
        for _ in 0..2 {
            let error = sink
                .deliver(&Batch::new(&[full_reading("roof", 1)]))
                .await
                .unwrap_err();
            assert!(unreachable(part)(&error), "{url}: {error:?}");
        }
    }
}
