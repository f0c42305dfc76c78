//! Who may ask what: only `GET` and `HEAD`, without a body, with the token if there is one, and by a name of this machine.
//!
//! The one thing that has a body is the token of a browser that logs in; what it may do then is what the token's owner may.
//!
//! The last is against web pages that have their own name lead to this machine (DNS rebinding): a browser would let them
//! read what a loopback address says, but it tells the name that it was asked for in `Host`.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, Request, StatusCode, Version};

use super::answer::Problem;
use super::entrance::Entrance;
use super::page;

/// What a request must have.
pub(super) struct Guard {
    token: Option<String>,
    /// The names of this machine, where others must not lead to it.
    names: Option<Vec<String>>,
    /// Where browsers log in, if there are pages for them and a token.
    entrance: Option<Arc<Entrance>>,
}

/// What a request may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Full,
    /// Whether all is well, and not why.
    Verdict,
}

impl Guard {
    /// For a listener at this address.
    pub(super) fn new(address: SocketAddr, token: Option<String>) -> Self {
        let names = (address.ip().is_loopback() && token.is_none()).then(own_names);
        Self {
            token,
            names,
            entrance: None,
        }
    }

    /// The same where browsers may log in.
    pub(super) fn with_entrance(self, entrance: Option<Arc<Entrance>>) -> Self {
        Self { entrance, ..self }
    }

    /// Whether a request is one to log in, the only one that has a body.
    pub(super) fn is_log_in<B>(&self, request: &Request<B>) -> bool {
        self.entrance.is_some()
            && *request.method() == Method::POST
            && request.uri().path() == page::LOG_IN
    }

    /// Whether anyone who was refused is a browser that may log in.
    pub(super) fn may_log_in<B>(&self, request: &Request<B>) -> bool {
        self.entrance.is_some()
            && !request.headers().contains_key(AUTHORIZATION)
            && page::is_page(request.uri().path())
            && page::is_browser(request.headers())
    }

    /// What a request may see, or why it is refused.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<Access, Problem> {
        if self.is_log_in(request) {
            self.check_host(request)?;
            return Ok(Access::Verdict);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "nothing can be changed here; ask with GET or HEAD",
            ));
        }
        let headers = request.headers();
        let length = headers.get(CONTENT_LENGTH);
        let has_body = headers.contains_key(TRANSFER_ENCODING)
            || length.is_some_and(|length| length.as_bytes() != b"0");
        if has_body {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "a question has no body; put parameters behind a `?` in the path",
            ));
        }
        self.check_host(request)?;
        let Some(token) = &self.token else {
            return Ok(Access::Full);
        };
        match headers
            .get(AUTHORIZATION)
            .map(|value| bearer(value.as_bytes()))
        {
            Some(Some(given)) if same(given, token.as_bytes()) => Ok(Access::Full),
            Some(_) => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "the token is wrong; send the one of the section [http] as `Authorization: Bearer TOKEN`",
            )),
            None if self.has_session(headers) => Ok(Access::Full),
            // For anyone who only wants to know whether to raise an alarm.
            None if request.uri().path() == "/health" => Ok(Access::Verdict),
            // How to log in is no secret, nor what it looks like.
            None if self.entrance.is_some() && page::is_public(request.uri().path()) => {
                Ok(Access::Verdict)
            }
            None => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "a token is needed; send the one of the section [http] as `Authorization: Bearer TOKEN`",
            )),
        }
    }

    fn has_session(&self, headers: &HeaderMap) -> bool {
        let entrance = self.entrance.as_ref();
        entrance.is_some_and(|entrance| entrance.admits(headers))
    }

    fn check_host<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host,
            (None, _) if request.version() == Version::HTTP_10 => return Ok(()),
            _ => {
                return Err(Problem::wrong(
                    "a request needs one header `Host`, with the name or address that was asked for",
                ));
            }
        };
        let Some(names) = &self.names else {
            return Ok(());
        };
        if host.to_str().is_ok_and(|host| is_own(host, names)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            // Its name is not told to anyone who does not know it.
            "this machine is asked by a name that is not its own, as a web page may do to read what it must not; ask by its \
             address, as localhost or by its host name. Behind a proxy, let the proxy send `Host: localhost`, or set a token",
        ))
    }
}

/// What this machine is called.
fn own_names() -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    #[cfg(unix)]
    if let Ok(name) = rustix::system::uname().nodename().to_str()
        && !name.is_empty()
    {
        let name = name.to_ascii_lowercase();
        names.extend((!name.contains('.')).then(|| format!("{name}.local")));
        names.push(name);
    }
    names
}

/// Whether a header `Host` is an address or one of these names.
fn is_own(host: &str, names: &[String]) -> bool {
    if host.parse::<IpAddr>().is_ok() || host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed
            .strip_suffix(']')
            .is_some_and(|host| host.parse::<IpAddr>().is_ok());
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) => return false,
        None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// The token of a header `Authorization`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

/// Whether two tokens are the same, in a time that does not tell how much of them is.
pub(super) fn same(given: &[u8], token: &[u8]) -> bool {
    let mut difference = given.len() ^ token.len();
    for (one, other) in given.iter().zip(token.iter().cycle()) {
        difference |= usize::from(one ^ other);
    }
    black_box(difference) == 0
}

/// A request with what it may see, and without the body that it was sent with.
pub(super) fn admitted<B>(request: Request<B>, access: Access, body: Body) -> Request<Body> {
    let (mut parts, _) = request.into_parts();
    parts.extensions.insert(access);
    Request::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(address: &str, token: Option<&str>) -> Guard {
        Guard::new(
            address.parse().expect("an address"),
            token.map(str::to_owned),
        )
    }

    fn refused(
        guard: &Guard,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Access, u16> {
        use axum::response::IntoResponse;
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        guard
            .admit(&request)
            .map_err(|problem| problem.into_response().status().as_u16())
    }

    const HERE: (&str, &str) = ("host", "127.0.0.1:8099");

    #[test]
    fn only_questions_are_let_in() {
        let guard = guard("127.0.0.1:8099", None);
        for method in ["GET", "HEAD"] {
            assert_eq!(refused(&guard, method, "/", &[HERE]), Ok(Access::Full));
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            assert_eq!(refused(&guard, method, "/", &[HERE]), Err(405), "{method}");
        }
        for body in [("content-length", "5"), ("transfer-encoding", "chunked")] {
            assert_eq!(refused(&guard, "GET", "/", &[HERE, body]), Err(413));
        }
        let empty = ("content-length", "0");
        assert_eq!(
            refused(&guard, "GET", "/", &[HERE, empty]),
            Ok(Access::Full)
        );
    }

    #[test]
    fn on_loopback_this_machine_is_asked_by_its_own_name() {
        let local = guard("127.0.0.1:8099", None);
        for host in [
            "127.0.0.1:8099",
            "127.0.0.1",
            "[::1]:8099",
            "[::1]",
            "localhost",
            "LocalHost:8099",
            "localhost.:80",
            "192.168.1.7",
        ] {
            assert_eq!(
                refused(&local, "GET", "/", &[("host", host)]),
                Ok(Access::Full),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "evil.example:8099",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "",
            "localhost:80:80",
        ] {
            assert_eq!(
                refused(&local, "GET", "/", &[("host", host)]),
                Err(421),
                "{host}"
            );
        }
        assert_eq!(refused(&local, "GET", "/", &[]), Err(400));
        assert_eq!(refused(&local, "GET", "/", &[HERE, HERE]), Err(400));
        // Anyone who has the token is no web page; and beyond loopback it has any name.
        let evil = ("host", "pi.example");
        let token = ("authorization", "Bearer hunter2");
        let with_token = guard("127.0.0.1:8099", Some("hunter2"));
        assert_eq!(
            refused(&with_token, "GET", "/", &[evil, token]),
            Ok(Access::Full)
        );
        let everywhere = guard("0.0.0.0:8099", None);
        assert_eq!(refused(&everywhere, "GET", "/", &[evil]), Ok(Access::Full));
    }

    #[test]
    #[cfg(unix)]
    fn this_machine_has_a_name() {
        assert!(own_names().len() > 1);
    }

    #[test]
    fn without_the_token_there_is_only_the_verdict() {
        let guard = guard("0.0.0.0:8099", Some("hunter2"));
        let with = |path, token| refused(&guard, "GET", path, &[HERE, ("authorization", token)]);
        for right in ["Bearer hunter2", "bearer hunter2", "Bearer  hunter2 "] {
            assert_eq!(with("/metrics", right), Ok(Access::Full), "{right}");
        }
        for wrong in [
            "Bearer hunter",
            "Bearer hunter22",
            "Bearer ",
            "Bearer",
            "Basic hunter2",
            "hunter2",
            "Bearer hunter2hunter2",
        ] {
            assert_eq!(with("/metrics", wrong), Err(401), "{wrong}");
            assert_eq!(with("/health", wrong), Err(401), "{wrong}");
        }
        assert_eq!(refused(&guard, "GET", "/metrics", &[HERE]), Err(401));
        assert_eq!(
            refused(&guard, "GET", "/health", &[HERE]),
            Ok(Access::Verdict)
        );
    }
}
