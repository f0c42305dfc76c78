//! A recorded machine in place of a simulated one: its replies in their order, again and again.

use std::collections::BTreeMap;

use super::machine::ILLEGAL_ADDRESS;
use super::record::Read;

/// What a machine answered to each read: its registers, or the code of an exception.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Playback(BTreeMap<Read, Turn>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Turn {
    replies: Vec<Result<Vec<u16>, u8>>,
    next: usize,
}

impl Playback {
    /// Adds a reply without its framing to the request `unit, function, register, count`: unit, function, and what follows.
    /// What is no reply of registers or an exception is not added.
    pub fn add(&mut self, request: &[u8], reply: &[u8]) {
        let &[_, function, a, b, c, d] = request else {
            return;
        };
        let told = match reply {
            [_, told, code] if *told == function | 0x80 => Err(*code),
            [_, told, length, data @ ..]
                if *told == function && usize::from(*length) == data.len() =>
            {
                let (words, _) = data.as_chunks();
                Ok(words.iter().copied().map(u16::from_be_bytes).collect())
            }
            _ => return,
        };
        let read = Read {
            function,
            first: u16::from_be_bytes([a, b]),
            count: u16::from_be_bytes([c, d]),
        };
        self.0.entry(read).or_default().replies.push(told);
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What comes next for a read; it does not have what was never recorded.
    pub(super) fn next(&mut self, read: Read) -> Result<Vec<u16>, u8> {
        let turn = self.0.get_mut(&read).ok_or(ILLEGAL_ADDRESS)?;
        let reply = turn.replies.get(turn.next).cloned();
        turn.next = (turn.next + 1) % turn.replies.len().max(1);
        reply.unwrap_or(Err(ILLEGAL_ADDRESS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_in_turn_and_what_was_not_recorded_is_no_register() {
        let mut playback = Playback::default();
        let request = [1, 4, 0, 10, 0, 1];
        playback.add(&request, &[1, 4, 2, 0, 7]);
        playback.add(&request, &[1, 4, 2, 0, 8]);
        playback.add(&[1, 4, 0, 20, 0, 1], &[1, 0x84, 2]);
        playback.add(&request, &[1, 4, 2, 0]);
        let read = |first| Read {
            function: 4,
            first,
            count: 1,
        };
        let told: Vec<_> = (0..3).map(|_| playback.next(read(10))).collect();
        assert_eq!(told, [Ok(vec![7]), Ok(vec![8]), Ok(vec![7])]);
        assert_eq!(playback.next(read(20)), Err(2));
        assert_eq!(playback.next(read(30)), Err(ILLEGAL_ADDRESS));
    }
}
