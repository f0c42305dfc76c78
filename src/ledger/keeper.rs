//! The ledger in use: whoever has something to remember hands it over and waits until it is written.
//!
//! A thread of its own writes, so that no inverter's polling is blocked; what several inverters hand over meanwhile is
//! written together, so that none waits longer than for two writes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kstar_sink::worker::{Upkeep, Worker};
use tokio::sync::{mpsc, oneshot};

use super::file::LedgerFile;
use super::quarantine::Refused;
use super::{Account, Accounts};

/// What a power cut may cost at most.
const SYNC_EVERY: Duration = Duration::from_secs(60);

/// How many hand-overs may wait: each inverter waits for its own before it has another.
const MOST_WAITING: usize = 64;

/// Something to be remembered.
struct Entry {
    inverter: Arc<str>,
    account: Account,
    refused: Option<Refused>,
    written: oneshot::Sender<()>,
}

/// A handle to the ledger. Without a file it remembers nothing.
#[derive(Clone, Debug, Default)]
pub struct Keeper(Option<mpsc::Sender<Entry>>);

/// The end of the ledger's work.
#[derive(Debug)]
pub struct Closing(Option<tokio::task::JoinHandle<()>>);

impl Keeper {
    /// A keeper that writes nothing, for readings that nobody counts on.
    pub fn forgetful() -> (Self, Closing) {
        (Self(None), Closing(None))
    }

    /// Starts to keep a ledger; what is in it already comes with it.
    pub fn start(ledger: LedgerFile) -> io::Result<(Self, Closing, Accounts)> {
        let accounts = ledger.accounts().clone();
        let upkeep = Upkeep {
            every: SYNC_EVERY,
            run: LedgerFile::sync,
        };
        let worker = Worker::start("ledger", ledger, Some(upkeep))?;
        let (sender, entries) = mpsc::channel(MOST_WAITING);
        let task = tokio::spawn(keep(worker, entries));
        Ok((Self(Some(sender)), Closing(Some(task)), accounts))
    }

    /// Remembers an inverter's account, and with it a reading that was refused, if there is one. Returns when that is
    /// written, or cannot be.
    pub async fn remember(&self, inverter: &Arc<str>, account: &Account, refused: Option<Refused>) {
        let Some(sender) = &self.0 else {
            return;
        };
        let (written, done) = oneshot::channel();
        let entry = Entry {
            inverter: inverter.clone(),
            account: account.clone(),
            refused,
            written,
        };
        // Where nobody keeps any more there is nothing to wait for; why has been said.
        if sender.send(entry).await.is_ok() {
            let _ = done.await;
        }
    }
}

impl Closing {
    /// Waits until everything is on the disk. Every [`Keeper`] must be gone.
    pub async fn closed(self) {
        if let Some(task) = self.0
            && task.await.is_err()
        {
            tracing::error!("keeping the energy counters has panicked; please report this");
        }
    }
}

async fn keep(worker: Worker<LedgerFile>, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::new();
    while entries.recv_many(&mut batch, MOST_WAITING).await > 0 {
        let mut waiting = Vec::with_capacity(batch.len());
        let mut refused = Vec::new();
        let mut accounts = Vec::with_capacity(batch.len());
        for entry in batch.drain(..) {
            accounts.push((entry.inverter, entry.account));
            refused.extend(entry.refused);
            waiting.push(entry.written);
        }
        let written = worker.call(move |ledger| {
            for (inverter, account) in accounts {
                match ledger.accounts_mut().get_mut(&*inverter) {
                    Some(known) => *known = account,
                    None => {
                        ledger
                            .accounts_mut()
                            .insert(inverter.as_ref().to_owned(), account);
                    }
                }
            }
            ledger.write();
            if !refused.is_empty() {
                ledger.quarantine(&refused);
            }
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "the energy counters cannot be kept; please report this");
        }
        for waiting in waiting {
            // An inverter that was stopped meanwhile does not wait any more.
            let _ = waiting.send(());
        }
    }
    // Only a thread that has panicked, which was said, does not sync.
    let _ = worker.call(LedgerFile::sync).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::counters::Flow;

    fn account(thousandths: u64) -> Account {
        let mut account = Account::default();
        account.current.meter.set(Flow::Pv, thousandths);
        account
    }

    #[tokio::test]
    async fn what_is_remembered_is_in_the_file_when_the_call_returns() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || LedgerFile::open(folder.path()).expect("a ledger");
        let (keeper, closing, accounts) = Keeper::start(open()).expect("a thread");
        assert!(accounts.is_empty());
        let names: Vec<Arc<str>> = (0..20)
            .map(|number| format!("roof{number}").into())
            .collect();
        for round in 1..10 {
            let mut all = tokio::task::JoinSet::new();
            for name in names.clone() {
                let keeper = keeper.clone();
                all.spawn(async move {
                    keeper.remember(&name, &account(round), None).await;
                    name
                });
            }
            while let Some(name) = all.join_next().await {
                let name = name.expect("no panic");
                assert_eq!(open().accounts().get(&*name), Some(&account(round)));
            }
        }
        drop(keeper);
        closing.closed().await;
        assert_eq!(open().accounts().len(), names.len());
        assert!(folder.path().join("meter.fallback.json").is_file());
    }

    #[tokio::test]
    async fn a_forgetful_keeper_makes_nobody_wait() {
        let (keeper, closing) = Keeper::forgetful();
        keeper.remember(&"roof".into(), &account(1), None).await;
        closing.closed().await;
    }
}
