//! Names in a form, which strangers choose. Pure: a name enters, one that can be passed on leaves, or what is wrong.

/// Longest name of a field or a file, in bytes: what file systems allow.
const LONGEST: usize = 255;

/// Longest ending of a file's name that is kept on disk. Readers of files go by `.xlsx` and the like.
const LONGEST_ENDING: usize = 10;

/// The name of a field, or why it is none.
pub(super) fn field(name: Option<&str>) -> Result<&str, String> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err("a part of the form has no name".to_owned());
    };
    if name.len() > LONGEST {
        return Err(format!("the name of a field has over {LONGEST} bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("the field {name:?} has control characters in its name"));
    }
    Ok(name)
}

/// The client's own name of a file, without the folders that it was in.
pub(super) fn file(name: &str) -> Result<String, String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let last: String = last.chars().filter(|letter| !letter.is_control()).collect();
    if last.len() > LONGEST {
        return Err(format!("the name of a file has over {LONGEST} bytes"));
    }
    Ok(if matches!(last.trim(), "" | "." | "..") { "file".to_owned() } else { last })
}

/// What a file is called on disk: its number, and its ending if that is a plain word.
pub(super) fn on_disk(number: usize, name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, ending))
            if (1..=LONGEST_ENDING).contains(&ending.len())
                && ending.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            format!("{number}.{ending}")
        }
        Some(_) | None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_name_and_loses_its_folders() {
        for (sent, kept) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\plan.docx", "plan.docx"),
            ("/", "file"),
            ("..", "file"),
            (" . ", "file"),
            ("a\u{0}b\n.txt", "ab.txt"),
            ("你好 (1).txt", "你好 (1).txt"),
        ] {
            assert_eq!(file(sent).unwrap(), kept, "{sent:?}");
        }
        assert!(file(&"x".repeat(256)).is_err());
        assert_eq!(file(&format!("{}/x", "y".repeat(9000))).unwrap(), "x");
    }

    #[test]
    fn on_disk_there_is_a_number_and_a_plain_ending() {
        for (name, wanted) in [
            ("a.pdf", "3.pdf"),
            ("a.tar.gz", "3.gz"),
            ("a", "3"),
            (".bashrc", "3.bashrc"),
            ("a.", "3"),
            ("a.p f", "3"),
            ("a.你好", "3"),
            ("a.abcdefghijk", "3"),
        ] {
            assert_eq!(on_disk(3, name), wanted, "{name}");
        }
    }

    #[test]
    fn a_field_has_a_plain_name() {
        assert_eq!(field(Some("doc[0]")), Ok("doc[0]"));
        for wrong in [None, Some(""), Some("a\nb"), Some(&*"x".repeat(256))] {
            assert!(field(wrong).is_err(), "{wrong:?}");
        }
    }
}
