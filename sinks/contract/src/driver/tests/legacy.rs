//! What a sink leaves to the one of the same section that follows.

use super::*;
use crate::sink::Legacy;

/// A sink that adds one to what it was left.
struct Heir {
    left: u32,
    closed: Arc<Mutex<Vec<u32>>>,
}

#[async_trait]
impl Sink for Heir {
    async fn deliver(&mut self, _: &Batch<'_>) -> Result<(), DeliveryError> {
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        self.closed.lock().unwrap().push(self.left);
        Ok(())
    }

    async fn hand_over(self: Box<Self>) -> Result<Option<Legacy>, DeliveryError> {
        Ok(Some(Box::new(self.left + 1)))
    }

    fn follow(&mut self, legacy: Legacy) {
        self.left = *legacy.downcast().expect("a number of ours");
    }
}

/// Runs a driver until it has parted so; gives what it leaves. One that cannot be opened never has a sink.
async fn run(
    handover: Handover,
    parting: Parting,
    opens: bool,
    closed: &Arc<Mutex<Vec<u32>>>,
) -> Handover {
    let closed = Arc::clone(closed);
    let opener = move || {
        let closed = Arc::clone(&closed);
        opens
            .then(|| -> Box<dyn Sink> { Box::new(Heir { left: 0, closed }) })
            .ok_or_else(|| Unavailable("not now".to_owned()))
    };
    let health = Arc::new(Health::new("heir"));
    let driver = Driver::opening(Arc::new(opener), policy(), health).with_legacy(handover.legacy);
    let stop = async move {
        sleep(Duration::from_millis(100)).await;
        parting
    };
    let (_, left) = driver.run_until(handover.events, stop).await;
    left.expect("it hands over")
}

fn number(legacy: Option<&Legacy>) -> Option<u32> {
    legacy.map(|legacy| *legacy.downcast_ref().expect("a number"))
}

#[tokio::test]
async fn only_a_sink_of_the_same_section_goes_on_with_it() {
    let (_sender, events) = broadcast::channel(4);
    let closed = Arc::default();
    let handover = Handover {
        events,
        waiting: Remainder::default(),
        legacy: None,
    };
    let handover = run(handover, Parting::Renew, true, &closed).await;
    assert_eq!(number(handover.legacy.as_ref()), Some(1));
    // It is for the next that can be opened.
    let handover = run(handover, Parting::Renew, false, &closed).await;
    assert_eq!(number(handover.legacy.as_ref()), Some(1));
    let handover = run(handover, Parting::Renew, true, &closed).await;
    assert_eq!(number(handover.legacy.as_ref()), Some(2));
    assert!(closed.lock().unwrap().is_empty());
    // One of another section follows: this one takes leave.
    let handover = run(handover, Parting::HandOver, true, &closed).await;
    assert_eq!(number(handover.legacy.as_ref()), None);
    assert_eq!(*closed.lock().unwrap(), [2]);
    let handover = run(handover, Parting::Renew, true, &closed).await;
    let handover = run(handover, Parting::HandOver, false, &closed).await;
    assert_eq!(number(handover.legacy.as_ref()), None);
}
