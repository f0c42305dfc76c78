//! A start without any answer: somebody waits for it, and wants to know within seconds what is tried.

use std::future::pending;
use std::time::Duration;

use tokio::time::sleep;

use crate::board::InverterEntry;

/// After so long without any answer since the start it is logged what is tried: time for a search or for all tries of a
/// poll, and no longer than somebody waits who has just started the program.
const SILENT_START: Duration = Duration::from_secs(8);

/// Logs what is tried where no answer has come for a while since the start; does not end.
pub(super) async fn tell(entry: &InverterEntry) {
    sleep(SILENT_START).await;
    let present = entry.present();
    if present.reachability.is_none() {
        let reason = present.no_answer.as_deref().unwrap_or("no reply yet");
        tracing::warn!(
            inverter = &*entry.name,
            tried = entry.host,
            reason,
            "no answer since the start; set the inverter's address with `host` in [[inverter]] or with --host, and `kstar check --connect` tells what is wrong"
        );
    }
    pending::<()>().await;
}
