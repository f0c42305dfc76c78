//! How single fields stand in a payload: width, sign, and the patterns that mean "no value".
//!
//! A field that does not fit completely is absent (PROTOCOL 3), and so is an unsigned one whose bits are all set: 0xFFFF
//! did not occur in any capture, and where other decoders met it, it meant that there is no value (PROTOCOL 8). In a
//! signed field the same bits are -1, which is a value like its neighbours; no capture shows them as anything else.

use kstar_model::scalar::{Clock, Scalar};

/// The forms that a field can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One byte.
    U8,
    /// Two bytes, unsigned.
    U16,
    /// Two bytes, signed.
    I16,
    /// Two bytes, signed, where 0x7FFF means that there is no sensor.
    Temperature,
    /// Four bytes, unsigned.
    U32,
    /// Six bytes: year since 2000, month, day, hour, minute, second.
    DateTime,
}

impl Form {
    /// How many bytes it takes.
    pub const fn width(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::I16 | Self::Temperature => 2,
            Self::U32 => 4,
            Self::DateTime => 6,
        }
    }

    /// The raw value of the field of this form at an offset, if there is one.
    #[inline]
    pub fn read(self, payload: &[u8], offset: usize) -> Option<i64> {
        match self {
            Self::U8 => bytes::<1>(payload, offset).map(|[byte]| byte.into()),
            Self::U16 => bytes(payload, offset)
                .map(u16::from_be_bytes)
                .filter(|raw| *raw != u16::MAX)
                .map(i64::from),
            Self::I16 => bytes(payload, offset)
                .map(i16::from_be_bytes)
                .map(i64::from),
            Self::Temperature => Self::I16
                .read(payload, offset)
                .filter(|raw| *raw != i64::from(i16::MAX)),
            Self::U32 => bytes(payload, offset)
                .map(u32::from_be_bytes)
                .filter(|raw| *raw != u32::MAX)
                .map(i64::from),
            Self::DateTime => {
                let [year, rest @ ..] = bytes::<6>(payload, offset)?.map(i16::from);
                let [month, day, hour, minute, second] = rest;
                Clock::new([2000 + year, month, day, hour, minute, second]).map(Scalar::raw)
            }
        }
    }
}

#[inline]
fn bytes<const N: usize>(payload: &[u8], offset: usize) -> Option<[u8; N]> {
    payload.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_beyond_the_end_is_absent() {
        let payload = [1, 2, 3];
        assert_eq!(Form::U16.read(&payload, 1), Some(0x0203));
        assert_eq!(Form::U16.read(&payload, 2), None);
        assert_eq!(Form::U32.read(&payload, 0), None);
        assert_eq!(Form::U8.read(&payload, 99), None);
    }

    #[test]
    fn all_bits_set_means_no_value_where_there_is_no_sign() {
        let payload = [0xff; 6];
        for form in [Form::U16, Form::U32, Form::DateTime] {
            assert_eq!(form.read(&payload, 0), None, "{form:?}");
        }
        for form in [Form::I16, Form::Temperature] {
            assert_eq!(form.read(&payload, 0), Some(-1), "{form:?}");
        }
        assert_eq!(Form::U8.read(&payload, 0), Some(255));
        assert_eq!(Form::Temperature.read(&[0x7f, 0xff], 0), None);
        assert_eq!(Form::I16.read(&[0x7f, 0xff], 0), Some(32767));
    }

    #[test]
    fn a_sign_is_heeded_where_there_is_one() {
        assert_eq!(Form::I16.read(&[0xfe, 0xea], 0), Some(-278));
        assert_eq!(Form::U16.read(&[0xfe, 0xea], 0), Some(65258));
    }

    #[test]
    fn a_date_that_does_not_exist_is_absent() {
        assert_eq!(
            Form::DateTime.read(&[23, 3, 24, 18, 5, 20], 0),
            Some(1_679_681_120)
        );
        assert_eq!(Form::DateTime.read(&[0; 6], 0), None);
    }
}
