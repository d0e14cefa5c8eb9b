//! Words of a displayed sentence: for matching (case and punctuation removed) and for display.

/// Lower case, with only words and single spaces left; an apostrophe inside a word stays, a hyphen
/// parts words.
pub fn normalised(text: &str) -> String {
    words(text).join(" ")
}

/// The words of `text` in the form the grammar and the dictionary use.
pub fn words(text: &str) -> Vec<String> {
    let plain: String = text
        .to_lowercase()
        .chars()
        .map(|c| match c {
            '’' | 'ʼ' => '\'',
            c if c.is_alphanumeric() || c == '\'' => c,
            _ => ' ',
        })
        .collect();
    plain
        .split(' ')
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The words of `text` as displayed; a mark that stands alone (French "?") joins the word before
/// it.
pub fn display_words(text: &str) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for piece in text.split_whitespace() {
        match shown.last_mut() {
            Some(last) if !piece.contains(char::is_alphanumeric) => last.push_str(piece),
            _ => shown.push(piece.to_owned()),
        }
    }
    shown
}

/// A displayed word in lower case without the marks around it.
pub fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase()
}

/// `text` with its first letter in upper case.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// How alike two texts are letter by letter: 0 (nothing in common) to 1 (equal), by edit distance.
pub fn similarity(a: &str, b: &str) -> f32 {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let longest = a.len().max(b.len());
    if longest == 0 {
        return 1.0;
    }
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (row, left) in a.iter().enumerate() {
        let mut diagonal = previous[0];
        previous[0] = row + 1;
        for (column, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = previous[column + 1];
            previous[column + 1] = substituted
                .min(previous[column] + 1)
                .min(previous[column + 1] + 1);
        }
    }
    1.0 - previous[b.len()] as f32 / longest as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: one spelling for matching, another for display. Method: literal examples.
    #[test]
    fn words_are_split_for_matching_and_for_display() {
        assert_eq!(
            words("Est-ce qu’il pleut ?"),
            ["est", "ce", "qu'il", "pleut"]
        );
        assert_eq!(
            display_words("Est-ce qu'il pleut ?"),
            ["Est-ce", "qu'il", "pleut?"]
        );
        assert_eq!(bare("pleut?"), "pleut");
        assert_eq!(capitalised("été"), "Été");
        assert!(words(" ' - ").is_empty());
    }

    /// Goal: the measure is edit distance over the longer text. Method: known distances.
    #[test]
    fn similarity_counts_edits() {
        let near = |a, b, expected: f32| assert!((similarity(a, b) - expected).abs() < 1e-6);
        near("kitten", "sitting", 1.0 - 3.0 / 7.0);
        near("", "", 1.0);
        near("abc", "", 0.0);
        near("abc", "abc", 1.0);
    }
}
