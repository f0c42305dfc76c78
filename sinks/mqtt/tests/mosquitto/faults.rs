//! Brokers that misbehave, and those that refuse us: one clear line, growing delays, and back when it is fixed.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kstar_sink::driver::Ended;
use kstar_sink::testing::full_reading;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::world::{Mosquitto, Running, broker, config, context, free_port};

/// What a fake broker does with a connection.
#[derive(Clone, Copy)]
enum Manner {
    /// It reads and never says a word.
    Silent,
    /// It lets us in and hangs up.
    HangsUp,
    /// The same, but each other time the connection is reset, as where it has not read what we sent.
    Resets,
    /// It refuses with this code.
    Refuses(u8),
    /// It speaks something else.
    Foreign,
    /// It lets us in and acknowledges nothing.
    Deaf,
}

/// A fake broker; says when each connection came.
async fn fake(manner: Manner) -> (u16, Arc<Mutex<Vec<Instant>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(Instant::now());
                seen.len()
            };
            tokio::spawn(behave(stream, manner, number));
        }
    });
    (port, connections)
}

async fn behave(mut stream: TcpStream, manner: Manner, number: usize) {
    let mut bytes = [0; 4096];
    let _ = stream.read(&mut bytes).await;
    let answer: &[u8] = match manner {
        Manner::Silent => &[],
        Manner::HangsUp | Manner::Resets | Manner::Deaf => &[0x20, 2, 0, 0],
        Manner::Refuses(code) => &[0x20, 2, 0, code],
        Manner::Foreign => b"HTTP/1.1 400 Bad Request\r\n\r\n",
    };
    let _ = stream.write_all(answer).await;
    if matches!(manner, Manner::Resets) && number.is_multiple_of(2) {
        // What comes next is left unread, which makes the end a reset.
        let _ = stream.readable().await;
    }
    if matches!(manner, Manner::Silent | Manner::Deaf) {
        while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    }
}

/// Delivers to a broker that cannot take it: all reasons that are given are one and the same, and say this.
async fn one_reason(url: &str, lines: &str, parts: &[&str], during: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&config(url, lines), &context(&["roof"], folder.path()));
    running.send(full_reading("roof", 1));
    let reasons = running.reasons(during).await;
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    for part in parts {
        assert!(reasons[0].contains(part), "{part}: {reasons:?}");
    }
    assert!(!reasons[0].contains("hunter2"), "{reasons:?}");
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_misbehaviour_has_one_line_that_says_what_it_is() {
    let three = Duration::from_secs(3);
    let cases: [(Manner, &str, &[&str]); 8] = [
        (Manner::Silent, "", &["does not answer"]),
        (
            Manner::HangsUp,
            "",
            &["closed the connection", "kstar-test"],
        ),
        (Manner::Resets, "", &["closed the connection", "kstar-test"]),
        (
            Manner::Refuses(2),
            "",
            &["refuses the client id `kstar-test`", "`client_id`"],
        ),
        (Manner::Refuses(3), "", &["unavailable"]),
        (
            Manner::Refuses(4),
            "username = 'me'\npassword = 'hunter2'",
            &["the user `me` or the password", "`password`"],
        ),
        (Manner::Refuses(5), "", &["without user and password"]),
        (Manner::Foreign, "", &["no MQTT broker"]),
    ];
    let checks = cases.map(|(manner, lines, parts)| async move {
        let (port, _) = fake(manner).await;
        let url = format!("mqtt://127.0.0.1:{port}");
        let mut all = vec![url.as_str()];
        all.extend(parts);
        one_reason(&url, lines, &all, three).await;
    });
    let mut tasks: Vec<_> = checks.into_iter().map(tokio::spawn).collect();
    tasks.push(tokio::spawn(async move {
        let url = "mqtt://no-such-host.invalid";
        one_reason(
            url,
            "",
            &["`no-such-host.invalid`", "does not resolve"],
            three,
        )
        .await;
    }));
    tasks.push(tokio::spawn(async move {
        let url = format!("mqtt://127.0.0.1:{}", free_port());
        one_reason(&url, "", &[&url, "refuses the connection"], three).await;
    }));
    let deaf = fake(Manner::Deaf).await.0;
    tasks.push(tokio::spawn(async move {
        let url = format!("mqtt://127.0.0.1:{deaf}");
        one_reason(
            &url,
            "delivery.timeout = '1s'",
            &[&url, "no longer answers"],
            three,
        )
        .await;
    }));
    for task in tasks {
        task.await.unwrap();
    }
}

/// A way to a broker that is dead once: the first connection is let in, and then nothing is read from it.
async fn dead_once(broker: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut dead, _) = listener.accept().await.unwrap();
        let _ = dead.read(&mut [0; 4096]).await;
        dead.write_all(&[0x20, 2, 0, 0]).await.unwrap();
        loop {
            let (mut ours, _) = listener.accept().await.unwrap();
            let mut theirs = TcpStream::connect((Ipv4Addr::LOCALHOST, broker))
                .await
                .unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut ours, &mut theirs).await });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stops_reading_is_left_in_time_and_found_again() {
    let mosquitto = Mosquitto::open();
    let port = dead_once(mosquitto.port).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("mqtt://127.0.0.1:{port}");
    let config = config(&url, "delivery.timeout = '1s'");
    let running = Running::start(&config, &context(&["roof"], folder.path()));
    let begin = Instant::now();
    running.send(full_reading("roof", 1));
    let reason = running.down().await;
    assert!(reason.contains("no longer answers"), "{reason}");
    assert!(begin.elapsed() < Duration::from_secs(3));
    running.delivered(1).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_broker_that_refuses_the_login() {
    for code in [2, 4, 5] {
        let (port, _) = fake(Manner::Refuses(code)).await;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("mqtt://127.0.0.1:{port}");
        let config = config(&url, "username = 'me'\npassword = 'hunter2'");
        let running = Running::start(&config, &context(&["roof"], folder.path()));
        running.send(full_reading("roof", 1));
        running.down().await;
        // Without end otherwise: anyone who runs the driver cuts it off when the grace is over.
        assert_eq!(running.ended().await, Ended::Refused);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_delay_between_tries_grows() {
    let (port, connections) = fake(Manner::HangsUp).await;
    let folder = tempfile::tempdir().unwrap();
    let config = kstar_sink_mqtt::MqttConfig::new(broker(port));
    let running = Running::start(&config, &context(&["roof"], folder.path()));
    // More readings do not mean more tries.
    for time in 0..70 {
        running.send(full_reading("roof", time));
        sleep(Duration::from_millis(100)).await;
    }
    let connections = connections.lock().unwrap().clone();
    let waits: Vec<Duration> = connections
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    assert!((3..=5).contains(&connections.len()), "{waits:?}");
    assert!(waits.is_sorted(), "{waits:?}");
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_kept_and_works_once_it_is_mended_on_either_side() {
    let set = |folder: &std::path::Path, password: &str| {
        let status = Command::new("mosquitto_passwd")
            .args([
                "-b",
                "-c",
                folder.join("users").to_str().unwrap(),
                "me",
                password,
            ])
            .status()
            .unwrap();
        assert!(status.success());
    };
    let lines = "allow_anonymous false\npassword_file FOLDER/users";
    let broker = Mosquitto::prepared(lines, |folder| set(folder, "right"));
    let secret = broker.path("secret");
    std::fs::write(&secret, "wrong\n").unwrap();
    let config = broker.config(&format!(
        "username = 'me'\npassword = {{ file = '{}' }}",
        secret.display()
    ));
    let running = Running::start(&config, &context(&["roof"], broker.folder.path()));
    running.send(full_reading("roof", 1));
    let reason = running.down().await;
    assert!(reason.contains("the user `me` or the password"), "{reason}");
    assert!(!reason.contains("wrong"), "{reason}");
    // In our own file: the program need not be restarted.
    std::fs::write(&secret, "right\n").unwrap();
    running.delivered(1).await;
    running.end().await;

    std::fs::write(&secret, "changed").unwrap();
    let running = Running::start(&config, &context(&["roof"], broker.folder.path()));
    running.send(full_reading("roof", 2));
    running.down().await;
    set(broker.folder.path(), "changed");
    broker.signal("HUP");
    running.delivered(1).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_with_one_client_id_do_not_throw_each_other_out_at_full_speed() {
    let mosquitto = Mosquitto::open();
    let folder = tempfile::tempdir().unwrap();
    let context = context(&["roof"], folder.path());
    let config = mosquitto.config("");
    let both = [
        Running::start(&config, &context),
        Running::start(&config, &context),
    ];
    for time in 0..80 {
        for running in &both {
            running.send(full_reading("roof", time));
        }
        sleep(Duration::from_millis(100)).await;
    }
    let thrown_out = mosquitto.log().matches("already connected").count();
    assert!(
        (2..=12).contains(&thrown_out),
        "{thrown_out} in eight seconds"
    );
    for running in both {
        running.kill().await;
    }
}
