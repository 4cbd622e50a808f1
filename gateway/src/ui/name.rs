//! What the name of a file tells: its type, and whether the name changes with the content.

/// A name whose hash is of this length or longer, in hexadecimal.
const SHORTEST_HEX: usize = 8;

/// The length of the hashes that bundlers write in more than hexadecimal.
const BUNDLERS: usize = 8;

/// The type of a file, with the encoding of texts.
pub(super) fn content_type(name: &str) -> String {
    let guessed = mime_guess::from_path(name).first_or_octet_stream();
    let essence = guessed.essence_str();
    let is_text = guessed.type_() == mime_guess::mime::TEXT
        || matches!(essence, "application/javascript" | "application/json" | "application/manifest+json");
    if is_text { format!("{essence}; charset=utf-8") } else { essence.to_owned() }
}

/// Whether the name holds a hash of the content, as bundlers write it: `app.3f2a9c1b.js`, `index-D1wrgTda.js`. What is
/// taken for one is cached for a year, so a word or a date must never be: a hash has a digit and a letter, and if it is
/// not hexadecimal it has exactly the length that bundlers use, and a capital.
pub(super) fn is_hashed(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or_default();
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    if matches!(extension, "html" | "htm" | "json" | "webmanifest" | "xml" | "txt") {
        return false;
    }
    let digits = |word: &str| word.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = |word: &str| {
        word.len() >= SHORTEST_HEX
            && word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            && (1..word.len()).contains(&digits(word))
    };
    stem.split(['.', '-', '_']).skip(1).any(is_hex) || is_bundlers(stem)
}

/// A hash of base 32 or 64 at the end of a stem, after `-` or `.`. It may itself have dashes.
fn is_bundlers(stem: &str) -> bool {
    let Some((before, hash)) = stem.len().checked_sub(BUNDLERS).and_then(|at| stem.split_at_checked(at))
    else {
        return false;
    };
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    before.len() > 1
        && before.ends_with(['-', '.'])
        && hash.bytes().all(belongs)
        && hash.bytes().any(|byte| byte.is_ascii_uppercase())
        && goes_on_after_digit(hash)
}

/// A letter after a digit: `version10` is counted, not hashed.
fn goes_on_after_digit(word: &str) -> bool {
    let after = word.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    after.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_names() {
        for (name, wanted) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/app.js", "text/javascript; charset=utf-8"),
            ("style.css", "text/css; charset=utf-8"),
            ("x.json", "application/json; charset=utf-8"),
            ("logo.svg", "image/svg+xml"),
            ("logo.png", "image/png"),
            ("code.wasm", "application/wasm"),
            ("font.woff2", "font/woff2"),
            ("LICENSE", "application/octet-stream"),
            ("x.unheard-of", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), wanted, "{name}");
        }
    }

    #[test]
    fn names_with_a_hash_are_told_from_words_and_dates() {
        for name in [
            "app.3f2a9c1b.js",
            "assets/index-D1wrgTda.js",
            "chunk-2MSOTYZN.js",
            "main.8d1f00aa23bc4455.css",
            "runtime~main.d3adb33f.chunk.js",
            "logo.0123456789abcdef.svg",
            "x-a_B-9c1d.js",
            "font-1a2b3c4d5e6f.woff2",
        ] {
            assert!(is_hashed(name), "{name}");
        }
        for name in [
            "index.html",
            "index.3f2a9c1b.html",
            "app.js",
            "jquery-3.6.0.min.js",
            "report-20240101.pdf",
            "photo-12345678.jpg",
            "component-ListView.js",
            "polyfill-es2015modules.js",
            "video-h264demo.js",
            "version10.js",
            "my-version10.js",
            "feedface.js",
            "3f2a9c1b",
            "deadbeef/app.js",
            "app-decade.js",
            "app-Beta2024.js",
            "chapter-Chapter1.js",
            "data.3f2a9c1b.json",
        ] {
            assert!(!is_hashed(name), "{name}");
        }
    }
}
