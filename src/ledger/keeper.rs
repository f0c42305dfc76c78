//! The ledger in use: whoever has something to remember hands it over and waits until it is written.
//!
//! A thread of its own writes, so that no inverter's polling is blocked; what several inverters hand over meanwhile is
//! written together, so that none waits longer than for two writes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kstar_sink::worker::{Upkeep, Worker};
use tokio::sync::{mpsc, oneshot};

use super::Account;
use super::file::LedgerFile;
use super::quarantine::Refused;

/// What a power cut may cost at most.
const SYNC_EVERY: Duration = Duration::from_secs(60);

/// How many hand-overs may wait: each inverter waits for its own before it has another.
const MOST_WAITING: usize = 64;

/// What is asked of the ledger.
enum Entry {
    /// To remember something.
    Remember {
        inverter: Arc<str>,
        account: Box<Account>,
        refused: Option<Refused>,
        written: oneshot::Sender<()>,
    },
    /// To tell what is remembered.
    Recall {
        inverter: Arc<str>,
        answer: oneshot::Sender<Account>,
    },
}

/// A handle to the ledger. Without a file it remembers nothing.
#[derive(Clone, Debug, Default)]
pub struct Keeper(Option<mpsc::Sender<Entry>>);

/// The end of the ledger's work.
#[derive(Debug, Default)]
pub struct Closing(Option<tokio::task::JoinHandle<()>>);

impl Keeper {
    /// Starts to keep a ledger.
    pub fn start(ledger: LedgerFile) -> io::Result<(Self, Closing)> {
        let upkeep = Upkeep {
            every: SYNC_EVERY,
            run: LedgerFile::sync,
        };
        let worker = Worker::start("ledger", ledger, Some(upkeep))?;
        let (sender, entries) = mpsc::channel(MOST_WAITING);
        let task = tokio::spawn(keep(worker, entries));
        Ok((Self(Some(sender)), Closing(Some(task))))
    }

    /// What is remembered under a name; nothing, if there is nothing.
    pub async fn recall(&self, inverter: &Arc<str>) -> Account {
        let Some(sender) = &self.0 else {
            return Account::default();
        };
        let (answer, told) = oneshot::channel();
        let entry = Entry::Recall {
            inverter: inverter.clone(),
            answer,
        };
        // Where nobody keeps any more, nothing is known; why has been said.
        let _ = sender.send(entry).await;
        told.await.unwrap_or_default()
    }

    /// Remembers an inverter's account, and with it a reading that was refused, if there is one. Returns when that is
    /// written, or cannot be.
    pub async fn remember(&self, inverter: &Arc<str>, account: &Account, refused: Option<Refused>) {
        let Some(sender) = &self.0 else {
            return;
        };
        let (written, done) = oneshot::channel();
        let entry = Entry::Remember {
            inverter: inverter.clone(),
            account: Box::new(account.clone()),
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
        let entries = std::mem::take(&mut batch);
        if let Err(error) = worker.call(move |ledger| settle(ledger, entries)).await {
            // Whoever waited is told by the end of its channel.
            tracing::error!(%error, "the energy counters cannot be kept; please report this");
        }
    }
    // Only a thread that has panicked, which was said, does not sync.
    let _ = worker.call(LedgerFile::sync).await;
}

/// Does what was asked; what is to be remembered is written once for all.
fn settle(ledger: &mut LedgerFile, entries: Vec<Entry>) {
    let mut waiting = Vec::with_capacity(entries.len());
    let mut quarantine = Vec::new();
    for entry in entries {
        match entry {
            Entry::Remember {
                inverter,
                account,
                refused,
                written,
            } => {
                *ledger.account_mut(&inverter) = *account;
                quarantine.extend(refused);
                waiting.push(written);
            }
            Entry::Recall { inverter, answer } => {
                let known = ledger.accounts().get(&*inverter).cloned();
                // Whoever asked may have been stopped.
                let _ = answer.send(known.unwrap_or_default());
            }
        }
    }
    if !waiting.is_empty() {
        ledger.write();
    }
    if !quarantine.is_empty() {
        ledger.quarantine(&quarantine);
    }
    for written in waiting {
        // An inverter that was stopped meanwhile does not wait any more.
        let _ = written.send(());
    }
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
        let (keeper, closing) = Keeper::start(open()).expect("a thread");
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
                assert_eq!(keeper.recall(&name).await, account(round));
            }
        }
        drop(keeper);
        closing.closed().await;
        assert_eq!(open().accounts().len(), names.len());
    }

    #[tokio::test]
    async fn without_a_file_nothing_is_remembered_and_nobody_waits() {
        let keeper = Keeper::default();
        keeper.remember(&"roof".into(), &account(1), None).await;
        assert_eq!(keeper.recall(&"roof".into()).await, Account::default());
        Closing::default().closed().await;
    }
}
