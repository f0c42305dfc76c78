//! A look at the server for somebody who waits: whether it is there, knows us, has what we write to, and whose clock
//! is right.
//!
//! A write without a single point tells all of that and leaves nothing behind: the server looks at who writes and
//! where to before it looks for points, and then either has nothing to do or says that there are none.

use std::time::SystemTime;

use kstar_common::finding::Finding;
use kstar_sink::sink::DeliveryError;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::server::{Connection, Settings};
use crate::verdict;

/// How far two clocks may be apart before somebody should know: a point's time is ours, and charts end at theirs.
const CLOCKS_APART_SECONDS: u64 = 10;

/// Looks at the server, as far as one step after the other succeeds.
pub(crate) async fn look(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(wrong) = look_at(settings, &mut findings).await {
        findings.push(wrong);
    }
    findings
}

async fn look_at(settings: &Settings, findings: &mut Vec<Finding>) -> Result<(), Finding> {
    let (plan, address) = (&settings.plan, &settings.plan.address);
    let host = address.bare_host();
    let addresses = timeout(settings.patience, lookup_host((host, 0))).await;
    if let Ok(found) = addresses {
        let found = found.map_err(|error| {
            Finding::wrong(
                "name",
                format!("the name `{host}` of the server does not resolve: {error}"),
                "check `url` and the name server",
            )
        })?;
        let first = found.map(|address| address.ip().to_string()).next();
        if let Some(ip) = first.filter(|ip| ip != host) {
            findings.push(Finding::good("name", format!("{host} is {ip}")));
        }
    }
    let because = |about, error: DeliveryError| Finding::failed(about, &error.to_string());
    let mut connection = Connection::new(settings)
        .await
        .map_err(|error| because("section", error))?;
    let nothing = plan
        .body(String::new())
        .await
        .map_err(|error| because("section", error))?;
    let answer = connection
        .post(plan, nothing)
        .await
        .map_err(|error| because("connection", verdict::of_transport(&error, plan)))?;
    findings.push(Finding::good("connection", format!("{address} answers")));
    findings.extend(clock(&answer, SystemTime::now()));
    match verdict::of_answer(&answer, plan, connection.secret.as_deref()) {
        // That there are no points is the last thing that it can say.
        Ok(()) | Err(DeliveryError::Rejected { .. }) => {
            let said = format!("we may write to the {}", plan.target);
            findings.push(Finding::good("writing", said));
            Ok(())
        }
        Err(error) => Err(because("writing", error)),
    }
}

/// Whether our clock agrees with the server's.
fn clock(answer: &Answer, ours: SystemTime) -> Option<Finding> {
    let theirs = answer.date?;
    let apart = match ours.duration_since(theirs) {
        Ok(ahead) => ahead,
        Err(behind) => behind.duration(),
    };
    let about = "clock";
    Some(if apart.as_secs() <= CLOCKS_APART_SECONDS {
        Finding::good(about, "agrees with the server's")
    } else {
        Finding::note(
            about,
            format!("{} s away from the server's", apart.as_secs()),
            "let both be set by the network: `timedatectl set-ntp true`",
        )
    })
}
