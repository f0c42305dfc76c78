use kstar_common::worker::NoAnswer;
use kstar_model::counted::AccountId;

use super::*;
use crate::pipeline::meter::counters::Flow;

fn account(thousandths: u64) -> Account {
    let mut account = Account::default();
    account.current.meter.set(Flow::Pv, thousandths);
    account.id = AccountId(7);
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
                let remembered = keeper.remember(&name, &account(round), None).await;
                assert_eq!(remembered, Remembered::Yes);
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
    let remembered = keeper.remember(&"roof".into(), &account(1), None).await;
    assert_eq!(remembered, Remembered::Yes);
    assert_eq!(keeper.recall(&"roof".into()).await, Account::default());
    Closing::default().closed().await;
}

fn refused(round: u64) -> Refused {
    Refused {
        time: round.to_string(),
        inverter: "roof".to_owned(),
        reason: "nonsense".to_owned(),
        datagram: "aa55".to_owned(),
    }
}

/// A keeper whose disk hangs until somebody sends.
async fn hanging(ledger: LedgerFile) -> (Keeper, Closing, std::sync::mpsc::Sender<()>) {
    let (release, released) = std::sync::mpsc::channel();
    let (tell, hangs) = oneshot::channel();
    let desk = Desk::new(&ledger);
    let worker = Worker::start("ledger", ledger, None).expect("a thread");
    let hang = worker.call(move |_| {
        let _ = tell.send(());
        // Also when a test that has failed sends nothing.
        let _ = released.recv();
    });
    tokio::select! {
        biased;
        _ = hang => panic!("nothing has released it"),
        outcome = hangs => outcome.expect("it hangs"),
    }
    let (keeper, closing) = Keeper::with(worker, desk);
    (keeper, closing, release)
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_waited_for_once_and_what_is_newest_is_written_when_it_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || LedgerFile::open(folder.path()).expect("a ledger");
    let (keeper, closing, release) = hanging(open()).await;
    let names: Vec<Arc<str>> = vec!["roof".into(), "garage".into()];
    // One is handed over as the other waits already: none waits longer than its patience.
    let mut all = tokio::task::JoinSet::new();
    for (delay, name) in [(0, &names[0]), (900, &names[1])] {
        let (keeper, name) = (keeper.clone(), name.clone());
        all.spawn(async move {
            sleep(Duration::from_millis(delay)).await;
            let began = Instant::now();
            let remembered = keeper.remember(&name, &account(1), None).await;
            assert_eq!(remembered, Remembered::NotYet);
            assert!(began.elapsed() <= PATIENCE + Duration::from_millis(1));
        });
    }
    all.join_all().await;
    // It is known to hang: nobody waits any more, however much is handed over.
    let began = Instant::now();
    for round in 2..2000 {
        for name in &names {
            let refused = refused(round);
            let remembered = keeper.remember(name, &account(round), Some(refused)).await;
            assert_eq!(remembered, Remembered::NotYet);
            assert_eq!(keeper.recall(name).await, account(round));
        }
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(open().accounts().is_empty());

    tokio::time::resume();
    release.send(()).expect("the thread waits");
    let mut round = 2000;
    while keeper.remember(&names[0], &account(round), None).await == Remembered::NotYet {
        round += 1;
        tokio::task::yield_now().await;
    }
    assert_eq!(open().accounts()["roof"], account(round));
    // What was handed over last while it hung needs nobody to hand it over again.
    assert_eq!(open().accounts()["garage"], account(1999));
    drop(keeper);
    closing.closed().await;
    let refused = quarantine::read(folder.path()).expect("a list");
    let times: Vec<&str> = refused.iter().map(|refused| &*refused.time).collect();
    assert_eq!(refused.len(), quarantine::MOST);
    assert_eq!((times[0], times[99]), ("1950", "1999"));
}

#[tokio::test]
async fn energies_that_cannot_be_written_are_not_remembered_until_they_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("state");
    let ledger = LedgerFile::open(&place).expect("a ledger");
    let (keeper, _closing) = Keeper::start(ledger).expect("a thread");
    std::fs::write(&place, "a file in its place").expect("written");
    let roof: Arc<str> = "roof".into();
    let remembered = keeper.remember(&roof, &account(1), None).await;
    assert_eq!(remembered, Remembered::NotYet);
    std::fs::remove_file(&place).expect("removed");
    let remembered = keeper.remember(&roof, &account(2), None).await;
    assert_eq!(remembered, Remembered::Yes);
    let again = LedgerFile::open(&place).expect("a ledger");
    assert_eq!(again.accounts()["roof"], account(2));
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_has_panicked_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = LedgerFile::open(folder.path()).expect("a ledger");
    let desk = Desk::new(&ledger);
    let worker = Worker::start("ledger", ledger, None).expect("a thread");
    let gone = worker.call(|_| panic!("on purpose")).await;
    assert_eq!(gone, Err::<(), _>(NoAnswer::Gone));
    let (keeper, closing) = Keeper::with(worker, desk);
    let roof: Arc<str> = "roof".into();
    for round in 1..10 {
        let remembered = keeper.remember(&roof, &account(round), None).await;
        assert_eq!(remembered, Remembered::NotYet);
        assert_eq!(keeper.recall(&roof).await, account(round));
    }
    drop(keeper);
    closing.closed().await;
}

#[tokio::test]
async fn accounts_in_memory_are_gone_on_from_and_kept_as_long_as_the_process() {
    let keeper = Keeper::in_memory(Accounts::from([("roof".to_owned(), account(7))]));
    let (roof, garage): (Arc<str>, Arc<str>) = ("roof".into(), "garage".into());
    assert_eq!(keeper.recall(&roof).await, account(7));
    assert_eq!(keeper.recall(&garage).await, Account::default());
    let remembered = keeper.remember(&roof, &account(8), None).await;
    assert_eq!(remembered, Remembered::Yes);
    assert_eq!(keeper.clone().recall(&roof).await, account(8));
    // Without any to begin with, nothing is kept.
    let nothing = Keeper::default();
    assert_eq!(
        nothing.remember(&roof, &account(8), None).await,
        Remembered::Yes
    );
    assert_eq!(nothing.recall(&roof).await, Account::default());
}
