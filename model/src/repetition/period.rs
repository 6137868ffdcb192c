//! Whether a text ends in one piece many times over.

/// Fewest bytes that the repetitions take up together: longer than a rule of dashes or a row of zeros.
const MIN_TOTAL: usize = 1000;

/// How often a piece of at most so many bytes must stand there. Long pieces do not come twice by chance, short ones do.
const TIMES: [(usize, usize); 3] = [(64, 16), (256, 8), (usize::MAX, 4)];

/// The shortest piece that `text` ends in often enough, as it stands first, and how often.
pub fn repeated(text: &[u8]) -> Option<(&[u8], usize)> {
    let same = common_suffixes(text);
    // `same[p]`: how far the text and the text shifted by `p` are the same, from the end. Then its last `same[p] + p` bytes
    // have the period `p`.
    let (period, total) = same.iter().enumerate().skip(1).find_map(|(period, same)| {
        let total = same + period;
        let (_, times) = TIMES.iter().find(|(most, _)| period <= *most)?;
        (total >= MIN_TOTAL && total >= period * times).then_some((period, total))
    })?;
    let start = text.len() - total;
    Some((text.get(start..start + period)?, total / period))
}

/// The Z function of the text read backwards.
fn common_suffixes(text: &[u8]) -> Vec<usize> {
    let backwards = |place: usize| {
        let place = text.len().checked_sub(place + 1)?;
        text.get(place)
    };
    let mut same = vec![0; text.len()];
    let (mut left, mut right) = (0, 0);
    for place in 1..text.len() {
        let known = if place < right {
            same.get(place - left)
                .copied()
                .unwrap_or(0)
                .min(right - place)
        } else {
            0
        };
        let mut length: usize = known;
        while place + length < text.len() && backwards(length) == backwards(place + length) {
            length += 1;
        }
        if place + length > right {
            (left, right) = (place, place + length);
        }
        if let Some(same) = same.get_mut(place) {
            *same = length;
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_piece_many_times() {
        let text = format!("{}{}", "x".repeat(300), "abcdefghij".repeat(100));
        assert_eq!(
            repeated(text.as_bytes()),
            Some((b"abcdefghij".as_slice(), 100))
        );
        assert_eq!(repeated("abcdefghij".repeat(99).as_bytes()), None);
        assert_eq!(repeated(b""), None);
    }

    proptest! {
        #[test]
        fn common_suffixes_are_right(text in "[ab]{0,40}") {
            let text = text.as_bytes();
            let found = common_suffixes(text);
            for shift in 1..text.len() {
                let (whole, shifted) = (text.iter().rev(), text[..text.len() - shift].iter().rev());
                let same = whole.zip(shifted).take_while(|(a, b)| a == b).count();
                prop_assert_eq!(found[shift], same);
            }
        }
    }
}
