use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Somebody who says this to the first who asks; gives what was asked.
async fn sayer(answer: &'static [u8]) -> (Url, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = Url::of_listener(listener.local_addr().expect("an address"));
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
        stream.write_all(answer).await.expect("written");
        String::from_utf8(request).expect("text")
    });
    (url, asked)
}

#[test]
fn an_address_is_read_as_people_write_it() {
    for (text, shown) in [
        ("http://127.0.0.1:8099", "http://127.0.0.1:8099"),
        ("127.0.0.1:8099", "http://127.0.0.1:8099"),
        ("HTTP://pi.lan", "http://pi.lan:80"),
        ("http://[::1]:8099/", "http://[::1]:8099"),
        ("http://[::1]", "http://[::1]:80"),
        ("http://pi/solar/", "http://pi:80/solar"),
    ] {
        let url: Url = text.parse().expect(text);
        assert_eq!(url.to_string(), shown);
    }
    for (text, words) in [
        ("https://pi", "https:// is not spoken here"),
        ("ftp://pi", "`ftp://`"),
        ("http://", "names no host"),
        ("http://a:0", "the port"),
        ("http://a b", "names no host"),
        ("http://me:secret@pi", "a password"),
        ("http://pi/?a", "`?`"),
        ("http://pi/a b", "%20"),
        ("http://[::1", "`]`"),
        ("http://[pi]", "no IPv6"),
        ("", "names no host"),
    ] {
        let error = text.parse::<Url>().expect_err(text);
        assert!(error.contains(words), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_collector_that_listens_everywhere_is_asked_on_this_machine() {
    for (listener, shown) in [
        ("0.0.0.0:8099", "http://127.0.0.1:8099"),
        ("[::]:8099", "http://[::1]:8099"),
        ("192.168.1.7:80", "http://192.168.1.7:80"),
    ] {
        let url = Url::of_listener(listener.parse().expect("an address"));
        assert_eq!(url.to_string(), shown);
    }
}

#[tokio::test]
async fn an_answer_is_read_with_its_status_and_the_token_goes_along() {
    let (url, asked) = sayer(
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 17\r\n\r\n{\"error\":\"tired\"}",
    )
    .await;
    let client = Client::new(url, Some("hunter2")).expect("a token");
    assert!(!format!("{client:?}").contains("hunter2"));
    let answer = client.get("/health").await.expect("an answer");
    assert_eq!((answer.status, answer.error().as_str()), (503, "tired"));
    let asked = asked.await.expect("asked");
    assert!(asked.starts_with("GET /health HTTP/1.1\r\n"), "{asked}");
    assert!(
        asked.contains("authorization: Bearer hunter2\r\n"),
        "{asked}"
    );
}

#[tokio::test]
async fn events_come_one_by_one_whatever_stands_between_them() {
    let (url, _) = sayer(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\nevent: reading\ndata: {\"a\":1}\n\n\
          id: 7\r\ndata: one\r\ndata:two\r\n\r\ndata: never ended\n",
    )
    .await;
    let client = Client::new(url, None).expect("no token");
    let mut events = client.events("/api/v1/stream").await.expect("a stream");
    let mut seen = Vec::new();
    while let Some(ServerEvent { name, data }) = events.next().await.expect("events") {
        seen.push((name, data));
    }
    let own = |name: &str, data: &str| (name.to_owned(), data.to_owned());
    assert_eq!(
        seen,
        [own("reading", "{\"a\":1}"), own("message", "one\ntwo")]
    );
}

#[tokio::test]
async fn a_stream_that_is_refused_says_why() {
    let (url, _) =
        sayer(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 20\r\n\r\n{\"error\":\"no token\"}")
            .await;
    let client = Client::new(url, None).expect("no token");
    let error = client
        .events("/api/v1/stream")
        .await
        .err()
        .expect("refused");
    assert!(
        error.to_string().ends_with("answers with 401: no token"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn somebody_who_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = Url::of_listener(listener.local_addr().expect("an address"));
    let client = Client::new(url, None).expect("no token");
    let error = client.get("/").await.expect_err("nobody answers");
    assert!(matches!(error, ClientError::TooSlow { .. }), "{error}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = Url::of_listener(listener.local_addr().expect("an address"));
    drop(listener);
    let client = Client::new(url.clone(), None).expect("no token");
    let error = client.get("/").await.expect_err("nobody is there");
    assert!(error.to_string().contains(&url.to_string()), "{error}");
}

#[tokio::test]
async fn what_is_no_http_is_said() {
    let (url, _) = sayer(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let client = Client::new(url, None).expect("no token");
    let error = client.get("/").await.expect_err("no HTTP");
    assert!(matches!(error, ClientError::Garbled { .. }), "{error}");
}
