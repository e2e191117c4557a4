//! Rules for characters in new text, based on Unicode properties instead of a list of known bad characters.
//!
//! Text is shown next to other text and compared by eye. Therefore each character has to be visible, and no
//! character may change how the characters around it are shown. The characters that Unicode calls
//! default-ignorable are invisible on their own. They are allowed only inside emoji, and between letters of
//! scripts that need them.

/// `Default_Ignorable_Code_Point` of Unicode 16.0, from `DerivedCoreProperties.txt`.
const DEFAULT_IGNORABLE: &[(u32, u32)] = &[
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x61c, 0x61c),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfff8),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0000, 0xe0fff),
];

/// `Extended_Pictographic` of Unicode 16.0, from emoji-data.txt: the characters that can begin an emoji.
const PICTOGRAPHIC: &[(u32, u32)] = &[
    (0xa9, 0xa9),
    (0xae, 0xae),
    (0x203c, 0x203c),
    (0x2049, 0x2049),
    (0x2122, 0x2122),
    (0x2139, 0x2139),
    (0x2194, 0x2199),
    (0x21a9, 0x21aa),
    (0x231a, 0x231b),
    (0x2328, 0x2328),
    (0x2388, 0x2388),
    (0x23cf, 0x23cf),
    (0x23e9, 0x23f3),
    (0x23f8, 0x23fa),
    (0x24c2, 0x24c2),
    (0x25aa, 0x25ab),
    (0x25b6, 0x25b6),
    (0x25c0, 0x25c0),
    (0x25fb, 0x25fe),
    (0x2600, 0x2605),
    (0x2607, 0x2612),
    (0x2614, 0x2685),
    (0x2690, 0x2705),
    (0x2708, 0x2712),
    (0x2714, 0x2714),
    (0x2716, 0x2716),
    (0x271d, 0x271d),
    (0x2721, 0x2721),
    (0x2728, 0x2728),
    (0x2733, 0x2734),
    (0x2744, 0x2744),
    (0x2747, 0x2747),
    (0x274c, 0x274c),
    (0x274e, 0x274e),
    (0x2753, 0x2755),
    (0x2757, 0x2757),
    (0x2763, 0x2767),
    (0x2795, 0x2797),
    (0x27a1, 0x27a1),
    (0x27b0, 0x27b0),
    (0x27bf, 0x27bf),
    (0x2934, 0x2935),
    (0x2b05, 0x2b07),
    (0x2b1b, 0x2b1c),
    (0x2b50, 0x2b50),
    (0x2b55, 0x2b55),
    (0x3030, 0x3030),
    (0x303d, 0x303d),
    (0x3297, 0x3297),
    (0x3299, 0x3299),
    (0x1f000, 0x1f0ff),
    (0x1f10d, 0x1f10f),
    (0x1f12f, 0x1f12f),
    (0x1f16c, 0x1f171),
    (0x1f17e, 0x1f17f),
    (0x1f18e, 0x1f18e),
    (0x1f191, 0x1f19a),
    (0x1f1ad, 0x1f1e5),
    (0x1f201, 0x1f20f),
    (0x1f21a, 0x1f21a),
    (0x1f22f, 0x1f22f),
    (0x1f232, 0x1f23a),
    (0x1f23c, 0x1f23f),
    (0x1f249, 0x1f3fa),
    (0x1f400, 0x1f53d),
    (0x1f546, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f774, 0x1f77f),
    (0x1f7d5, 0x1f7ff),
    (0x1f80c, 0x1f80f),
    (0x1f848, 0x1f84f),
    (0x1f85a, 0x1f85f),
    (0x1f888, 0x1f88f),
    (0x1f8ae, 0x1f8ff),
    (0x1f90c, 0x1f93a),
    (0x1f93c, 0x1f945),
    (0x1f947, 0x1faff),
    (0x1fc00, 0x1fffd),
];

/// The three flags that are written with tag characters: England, Scotland and Wales.
const TAGGED_FLAGS: [&str; 3] = [
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
];

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const KEYCAP: char = '\u{20e3}';

/// Whether a text may contain joiners between letters of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joiners {
    /// Allowed between two letters of a script that uses joiners, such as Persian or Hindi.
    InScripts,
    /// Not allowed. For identifiers: two identifiers that differ in one character should look different.
    No,
}

/// Returns the first character of `text` that is invisible or changes how the text around it is shown.
pub(super) fn find_hidden(text: &str, joiners: Joiners) -> Option<char> {
    let mut characters = text.chars();
    let mut before = None;
    // Whether the characters so far end with an emoji, which a joiner may continue.
    let mut is_emoji = false;
    loop {
        let rest = characters.as_str();
        if let Some(after) = TAGGED_FLAGS.iter().find_map(|flag| rest.strip_prefix(flag)) {
            characters = after.chars();
            (before, is_emoji) = (None, true);
            continue;
        }
        let character = characters.next()?;
        let after = characters.clone().next();
        let is_let_through = match character {
            // U+FE0E requests the form without color and does not begin an emoji. In an identifier it would
            // be invisible.
            '\u{fe0e}' if joiners == Joiners::No => false,
            // A variation selector of an emoji, or a part of a keycap.
            '\u{fe0e}' | '\u{fe0f}' => {
                before.is_some_and(is_pictographic)
                    || before.is_some_and(is_keycap_base) && after == Some(KEYCAP)
            }
            ZERO_WIDTH_JOINER if is_emoji && after.is_some_and(is_pictographic) => true,
            ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER => {
                joiners == Joiners::InScripts
                    && before.is_some_and(is_of_joining_script)
                    && after.is_some_and(is_of_joining_script)
            }
            _ => !is_hidden(character),
        };
        if !is_let_through {
            return Some(character);
        }
        is_emoji = is_pictographic(character)
            || is_emoji && matches!(character, '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}');
        before = Some(character);
    }
}

/// Returns whether at least one character of `text` is visible.
pub(super) fn is_visible(text: &str) -> bool {
    text.chars().any(|character| {
        !character.is_whitespace()
            && !is_hidden(character)
            && !is_blank(character)
            && shows_alone(character)
    })
}

/// Returns whether `character` is visible without a character before it: it is assigned and is not a mark.
///
/// The standard library knows this for each character, because `escape_debug` escapes all others. A list of
/// marks in this file would fall behind new versions of Unicode.
fn shows_alone(character: char) -> bool {
    // Quotes and the backslash are visible. They are escaped for another reason.
    matches!(character, '"' | '\'' | '\\')
        || character.escape_debug().len() == 1
        || is_pictographic(character)
}

/// Returns whether `character` looks like a space without being Unicode white space.
pub(super) fn is_blank(character: char) -> bool {
    // Braille, a musical symbol, Egyptian hieroglyphs and the Khitan script.
    matches!(character, '\u{2800}' | '\u{1d159}' | '\u{13441}'..='\u{13442}' | '\u{16fe4}')
}

/// Returns whether `character` is not allowed in a line of text, except next to certain other characters.
fn is_hidden(character: char) -> bool {
    let code = u32::from(character);
    character.is_control()
        || is_in(DEFAULT_IGNORABLE, code)
        || matches!(
            character,
            // Separators of lines and paragraphs, and interlinear annotations.
            '\u{2028}'..='\u{2029}' | '\u{fff9}'..='\u{fffb}'
            // The placeholder of a missing object, and controls that arrange hieroglyphs.
            | '\u{fffc}' | '\u{13430}'..='\u{1343f}'
            // Private use: their appearance depends on the machine.
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}'
            // Noncharacters.
            | '\u{fdd0}'..='\u{fdef}'
        )
        || code & 0xfffe == 0xfffe
}

/// Returns whether `character` belongs to a script with joiners: Arabic and related scripts, the scripts of
/// India, Burmese, Khmer and Mongolian.
fn is_of_joining_script(character: char) -> bool {
    let is_of_script = matches!(
        character,
        '\u{620}'..='\u{dff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{18af}'
    );
    is_of_script && !is_hidden(character) && !character.is_numeric()
}

fn is_keycap_base(character: char) -> bool {
    matches!(character, '0'..='9' | '#' | '*')
}

fn is_pictographic(character: char) -> bool {
    is_in(PICTOGRAPHIC, u32::from(character))
}

/// Returns whether one of the sorted `ranges` contains `code`.
fn is_in(ranges: &[(u32, u32)], code: u32) -> bool {
    let end = ranges.partition_point(|(first, _)| *first <= code);
    end.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| code <= *last)
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _, vec::Vec};

    use regex_syntax::hir::{Class, ClassUnicode, HirKind};

    use super::*;

    /// Returns a class of characters from another implementation of Unicode.
    fn class_of(pattern: &str) -> ClassUnicode {
        match regex_syntax::parse(pattern).unwrap().into_kind() {
            HirKind::Class(Class::Unicode(class)) => class,
            _ => panic!("{pattern} is no class"),
        }
    }

    fn all_of(pattern: &str) -> Vec<char> {
        class_of(pattern).iter().flat_map(|range| range.start()..=range.end()).collect()
    }

    fn assert_table(name: &str, table: &[(u32, u32)]) {
        let class = class_of(&format!(r"\p{{{name}}}"));
        let theirs: Vec<(u32, u32)> =
            class.iter().map(|range| (range.start().into(), range.end().into())).collect();
        assert_eq!(table, theirs, "{name}");
    }

    #[test]
    fn tables_are_those_of_unicode() {
        assert_table("Default_Ignorable_Code_Point", DEFAULT_IGNORABLE);
        assert_table("Extended_Pictographic", PICTOGRAPHIC);
    }

    #[test]
    fn every_default_ignorable_character_is_hidden_on_its_own() {
        for (first, last) in DEFAULT_IGNORABLE {
            for character in (*first..=*last).filter_map(char::from_u32) {
                let text = format!("acme{character}");
                assert_eq!(find_hidden(&text, Joiners::InScripts), Some(character));
                assert!(!is_visible(&character.to_string()), "{character:?}");
            }
        }
        assert_eq!(find_hidden("acme", Joiners::No), None);
    }

    #[test]
    fn text_of_marks_and_controls_alone_is_not_visible() {
        for character in all_of(r"[\p{Mn}\p{Me}\p{Z}\p{Cc}\p{Cf}\p{Co}]") {
            let text = format!("{character}{character}");
            assert!(!is_visible(&text), "{character:?}");
            assert!(is_visible(&format!("a{character}")), "{character:?}");
        }
        for unassigned in ["\u{378}", "\u{2fe0}", "\u{10ffff}"] {
            assert!(!is_visible(unassigned), "{unassigned:?}");
        }
        let blank = |character: &char| is_blank(*character) || is_hidden(*character);
        let extends = |character: &char| matches!(character, '\u{ff9e}' | '\u{ff9f}');
        let letters = all_of(r"[\p{L}\p{N}\p{P}\p{S}]");
        for character in letters.into_iter().filter(|c| !blank(c) && !extends(c)) {
            assert!(is_visible(&character.to_string()), "{character:?}");
        }
    }

    #[test]
    fn format_controls_are_hidden_unless_they_show_a_sign() {
        // Characters with `Prepended_Concatenation_Mark` enclose the digits after them.
        let signs = ['\u{600}', '\u{605}', '\u{6dd}', '\u{70f}', '\u{890}', '\u{891}', '\u{8e2}'];
        for character in all_of(r"\p{Cf}") {
            let is_sign = signs.contains(&character)
                || matches!(character, '\u{601}'..='\u{604}' | '\u{110bd}' | '\u{110cd}');
            let text = format!("acme{character}");
            assert_eq!(find_hidden(&text, Joiners::No).is_none(), is_sign, "{character:?}");
        }
        assert_eq!(find_hidden("acme\u{fffc}", Joiners::InScripts), Some('\u{fffc}'));
    }

    #[test]
    fn text_form_of_an_emoji_is_hidden_in_identifiers() {
        for text in ["acme\u{a9}\u{fe0e}", "\u{2764}\u{fe0e}", "1\u{fe0e}\u{20e3}"] {
            assert_eq!(find_hidden(text, Joiners::InScripts), None, "{text}");
            assert_eq!(find_hidden(text, Joiners::No), Some('\u{fe0e}'), "{text}");
        }
    }

    #[test]
    fn emoji_and_scripts_keep_their_joiners_and_selectors() {
        for (text, of_script) in [
            ("\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}", false),
            ("\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}", false),
            ("\u{1f44b}\u{1f3fd}", false),
            ("\u{1f469}\u{1f3fd}\u{200d}\u{1f4bb}", false),
            ("\u{2764}\u{fe0f}", false),
            ("1\u{fe0f}\u{20e3}", false),
            (TAGGED_FLAGS[1], false),
            ("\u{1f1e9}\u{1f1ea}", false),
            ("\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}", true),
            ("\u{915}\u{94d}\u{200d}\u{937}", true),
        ] {
            assert_eq!(find_hidden(text, Joiners::InScripts), None, "{text}");
            assert_eq!(find_hidden(text, Joiners::No).is_some(), of_script, "{text}");
            assert!(is_visible(text), "{text}");
        }
        for text in [
            "a\u{200d}b",
            "a\u{200c}b",
            "\u{1f468}\u{200d}",
            "\u{1f468}\u{200d}a",
            "\u{2764}\u{fe0f}\u{fe0f}",
            "1\u{fe0f}",
            "a\u{fe0f}",
            "\u{1f3f4}\u{e0067}\u{e007f}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}",
            "acme\u{e0061}",
            "\u{845b}\u{e0100}",
            "\u{645}\u{200c}a",
            "\u{f8ff}",
            "\u{fdd0}",
            "\u{10ffff}",
            "\u{fffe}",
        ] {
            assert!(find_hidden(text, Joiners::InScripts).is_some(), "{text:?}");
        }
    }
}
