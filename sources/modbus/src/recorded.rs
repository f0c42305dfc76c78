//! What recorded registers mean, one by one; those that nobody knows as well, with how they moved.

use kstar_model::catalogue::{Quantity, Values};
use kstar_source::datagram::Hex;
use kstar_source::explain::{RecordedBlock, RecordedReply, Register};
use kstar_source::source::Asked as When;

use crate::families::{Family, Machine};
use crate::frame::{Answer, Request, words};
use crate::registers::{Field, Form, Registers};

/// What a recording has of each block, in the order in which they were asked for first.
pub(crate) fn explain(family: &Family, replies: &[RecordedReply]) -> Vec<RecordedBlock> {
    let mut asked: Vec<Asked> = Vec::new();
    for reply in replies {
        let Some(request) = Request::parse(&reply.request) else {
            continue;
        };
        if !asked.iter().any(|block| block.request == request) {
            asked.push(Asked {
                name: reply.block.clone(),
                request,
                requests: 0,
                replies: Vec::new(),
                refusal: None,
            });
        }
        let Some(block) = asked.iter_mut().find(|block| block.request == request) else {
            continue;
        };
        block.requests += 1;
        match reply.reply.as_deref().map(|bytes| request.answer(bytes)) {
            Some(Ok((Answer::Registers(words), _))) => block.replies.push(words),
            Some(Ok((Answer::Exception(exception), _))) => {
                block.refusal = Some(exception.to_string());
            }
            Some(Err(rejection)) => block.refusal = Some(rejection.to_string()),
            None => {}
        }
    }
    let values = values(family, &asked);
    let blocks = asked.into_iter().map(|block| RecordedBlock {
        asked: block.request.to_string(),
        requests: block.requests,
        replies: block.replies.len(),
        refusal: block.refusal.filter(|_| block.replies.is_empty()),
        registers: registers(family, block.request.first(), &block.replies, Some(&values)),
        block: block.name,
    });
    blocks.collect()
}

/// What a reading would hold of the replies to one poll, if every block is there without which there is none.
pub(crate) fn decode(family: &Family, replies: &[RecordedReply]) -> Option<Values> {
    let told: Vec<(Request, Vec<u16>)> = replies
        .iter()
        .filter_map(|reply| {
            let request = Request::parse(&reply.request)?;
            match request.answer(reply.reply.as_deref()?).ok()? {
                (Answer::Registers(words), _) => Some((request, words)),
                (Answer::Exception(_), _) => None,
            }
        })
        .collect();
    let has = |request| told.iter().any(|(told, _)| *told == request);
    let mut needed = family
        .blocks
        .iter()
        .filter(|block| block.asked == When::EachPoll);
    let unit = told.first()?.0.unit();
    if !needed.all(|block| block.requests(unit).any(has)) {
        return None;
    }
    Some(read(
        family,
        told.iter()
            .map(|(request, words)| (request.first(), &**words)),
    ))
}

/// What a reading holds of registers, each with the number of the first.
fn read<'a>(family: &Family, told: impl Iterator<Item = (u16, &'a [u16])>) -> Values {
    let mut registers = Registers::default();
    for (first, words) in told {
        registers.insert(first, words);
    }
    let mut machine = Machine::default();
    // The model tells how many phases there are.
    (family.identity)(&registers, &mut machine);
    family.decode(&registers, &mut machine)
}

/// A request of a recording with its replies.
struct Asked {
    name: String,
    request: Request,
    requests: usize,
    replies: Vec<Vec<u16>>,
    refusal: Option<String>,
}

/// What a reading would hold of the last reply of each.
fn values<'a>(family: &Family, asked: &'a [Asked]) -> Values {
    let last = |block: &'a Asked| Some((block.request.first(), &**block.replies.last()?));
    read(family, asked.iter().filter_map(last))
}

/// Explains the registers of one block by its replies; what `values` has of a quantity is said of it.
pub(crate) fn registers(
    family: &Family,
    first: u16,
    replies: &[Vec<u16>],
    values: Option<&Values>,
) -> Vec<Register> {
    let count = replies.iter().map(Vec::len).max().unwrap_or_default();
    let end = first.saturating_add(u16::try_from(count).unwrap_or_default());
    let mut rows = Vec::new();
    let mut register = first;
    while register < end {
        let meaning = Meaning::of(family, register, end);
        let read = |words: &Vec<u16>| {
            let from = usize::from(register - first);
            words
                .get(from..from + usize::from(meaning.count))
                .map(<[u16]>::to_vec)
        };
        let told: Vec<Vec<u16>> = replies.iter().filter_map(read).collect();
        let last = told.last().cloned().unwrap_or_default();
        let integers = || {
            told.iter()
                .filter_map(|words| integer(words, meaning.is_signed))
        };
        rows.push(Register {
            register,
            hex: Hex(&bytes(&last)).to_string(),
            raw: integer(&last, meaning.is_signed),
            lowest: integers().min(),
            highest: integers().max(),
            quantities: meaning
                .fields
                .iter()
                .map(|field| field.quantity.name())
                .collect(),
            meaning: meaning.text(register, &last, values),
        });
        register = register.saturating_add(meaning.count.max(1));
    }
    rows
}

/// What a family knows of a register, and of how many that follow it belong to it.
struct Meaning {
    count: u16,
    is_signed: bool,
    fields: Vec<Field>,
    note: Option<&'static str>,
}

impl Meaning {
    fn of(family: &Family, register: u16, end: u16) -> Self {
        let begins = |field: &&Field| field.register == register;
        let fields: Vec<Field> = family.fields.iter().filter(begins).copied().collect();
        let covers = |(first, count, _): &&(u16, u16, &str)| {
            (*first..first.saturating_add(*count)).contains(&register)
        };
        let noted = family.notes.iter().find(covers);
        let widest = fields.iter().map(|field| field.form.registers()).max();
        let count = widest.unwrap_or_else(|| match noted {
            // A text, or one number in two registers; longer notes are of as many numbers.
            Some((first, count, what)) if what.contains("text") || *count == 2 => {
                count - (register - first)
            }
            _ => 1,
        });
        // What begins in the middle has a row of its own.
        let next = family.fields.iter().map(|field| field.register);
        let next = next.filter(|next| *next > register).min().unwrap_or(end);
        Self {
            count: count.min(next.min(end) - register).max(1),
            is_signed: fields.iter().any(|field| {
                matches!(
                    field.form,
                    Form::I16 | Form::I32 | Form::Temperature | Form::GoodweTemperature
                )
            }),
            fields,
            note: noted.map(|(_, _, what)| *what),
        }
    }

    fn text(&self, register: u16, words: &[u16], values: Option<&Values>) -> String {
        let mut registers = Registers::default();
        registers.insert(register, words);
        let fields = self.fields.iter();
        let mut parts: Vec<String> = fields
            .map(|field| quantity(*field, &registers, values))
            .collect();
        if let Some(note) = self.note {
            let text = registers
                .text(register, self.count)
                .filter(|_| note.contains("text"))
                .or_else(|| read_as(note, values));
            parts.push(text.map_or_else(|| note.to_owned(), |text| format!("{note}: {text}")));
        }
        if parts.is_empty() {
            "unknown".to_owned()
        } else {
            parts.join("; ")
        }
    }
}

/// What a reading has of the quantity that a note names.
fn read_as(note: &str, values: Option<&Values>) -> Option<String> {
    let (_, name) = note.split_once("read as ")?;
    let quantity = Quantity::from_name(name.trim())?;
    let raw = values?.raw(quantity)?;
    Some(with_unit(quantity, raw))
}

/// What stands there, and what a reading makes of it.
fn quantity(field: Field, registers: &Registers<'_>, values: Option<&Values>) -> String {
    let quantity = field.quantity;
    let told = field.read(registers);
    let Some(raw) = told else {
        return format!("{quantity}: there is no value");
    };
    match values.map(|values| values.raw(quantity)) {
        Some(None) => format!(
            "{quantity} absent, although {} stands here",
            with_unit(quantity, raw)
        ),
        Some(Some(read)) if read != raw => format!(
            "{quantity} {}, although {} stands here",
            with_unit(quantity, read),
            with_unit(quantity, raw)
        ),
        _ => format!("{quantity} {}", with_unit(quantity, raw)),
    }
}

fn with_unit(quantity: Quantity, raw: i64) -> String {
    format!("{} {}", quantity.value(raw), quantity.description().unit)
        .trim_end()
        .to_owned()
}

/// One, two or four registers as one integer, the highest first.
fn integer(words: &[u16], is_signed: bool) -> Option<i64> {
    let all = words
        .iter()
        .fold(0_u64, |all, word| all << 16 | u64::from(*word));
    match (words.len(), is_signed) {
        (0 | 3 | 5.., _) => None,
        (1, true) => words.first().map(|word| word.cast_signed().into()),
        (2, true) => u32::try_from(all)
            .ok()
            .map(|word| word.cast_signed().into()),
        _ => i64::try_from(all).ok(),
    }
}

/// Registers as they stand on the wire.
fn bytes(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The registers of a reply.
pub(crate) fn of_reply(message: &[u8]) -> Option<Vec<u16>> {
    let (&[_, _, length], data) = message.split_first_chunk()?;
    data.get(..usize::from(length)).map(words)
}
