//! Whether what was typed leads to a server, before it is written: a mistyped address or password shows at once.

use kstar_common::finding::Verdict;

use super::asking::say;
use crate::config::{Config, ConfigFile};
use crate::run::plans;

/// Tries the section of a sink, and tells what is wrong; gives whether nothing is.
pub(super) async fn works(section: &str) -> bool {
    let config = match Config::parse(&ConfigFile::new("", section)) {
        Ok(config) => config,
        Err(error) => {
            say(error.message());
            return false;
        }
    };
    let context = plans::context(&config);
    let mut works = true;
    for sink in config.sinks.enabled() {
        say(&format!("Trying {} ...", sink.destination(&context)));
        let found = sink.probe(&context).await.into_iter();
        for finding in found.filter(|finding| finding.verdict == Verdict::Wrong) {
            works = false;
            let fix = finding.fix.map(|fix| format!("; {fix}"));
            say(&format!(
                "{}: {}{}",
                finding.about,
                finding.said,
                fix.unwrap_or_default()
            ));
        }
    }
    if works {
        say("It works.");
    }
    works
}
