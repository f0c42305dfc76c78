//! A look at the address where HTTP is to be served: free, or taken by a collector that runs, or by somebody else.

use std::io::ErrorKind;
use std::net::SocketAddr;

use kstar_client::{Client, Url};
use kstar_common::finding::Finding;
use kstar_common::setting::Secret;
use kstar_http::health::Verdict;
use tokio::net::TcpListener;

/// What is found at the address, and whether the token is there.
pub(super) async fn look(listen: SocketAddr, token: Option<Secret>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let token = match token {
        None => None,
        Some(secret) => match kstar_http::revealed(secret).await {
            Ok(token) => {
                findings.push(Finding::good("token", "there is one"));
                Some(token)
            }
            Err(reason) => {
                findings.push(Finding::failed("token", &reason));
                None
            }
        },
    };
    findings.push(port(listen, token.as_deref()).await);
    findings
}

async fn port(listen: SocketAddr, token: Option<&str>) -> Finding {
    // Taken and left again at once: nothing was let in.
    match TcpListener::bind(listen).await {
        Ok(_) => Finding::good("port", format!("{listen} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => taken(listen, token).await,
        Err(error) => Finding::failed("port", &kstar_http::cannot_listen(listen, &error)),
    }
}

/// Who has the port.
async fn taken(listen: SocketAddr, token: Option<&str>) -> Finding {
    let url = Url::of_listener(listen);
    let asked = match Client::new(url, token) {
        Ok(client) => client.get("/health").await.ok(),
        Err(_) => None,
    };
    let verdict = asked.and_then(|answer| serde_json::from_slice::<Verdict>(&answer.body).ok());
    match verdict {
        Some(Verdict { healthy: true, .. }) => Finding::good(
            "port",
            format!("a collector serves HTTP at {listen} and is well"),
        ),
        Some(_) => Finding::note(
            "port",
            format!("a collector serves HTTP at {listen} and is not well"),
            "`kstar health` tells why",
        ),
        None => Finding::wrong(
            "port",
            format!("another program has {listen}"),
            format!(
                "take another port for `listen`, or stop that program: `ss -ltnp sport = :{}` names it",
                listen.port()
            ),
        ),
    }
}
