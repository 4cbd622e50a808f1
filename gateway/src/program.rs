//! The memory in which this program's own code lies.

use std::{fs, io, ops::Range};

use rustix::mm::{Advice, madvise};

/// Takes the pages of code out of this process that only its start needed: readers of configuration, the command line,
/// tables of protocols that nobody speaks. They are most of what it holds when nobody calls. The file still has them, so
/// whatever runs again is there again, sixteen pages at a time and mostly without a read.
pub(crate) fn forget_start() {
    let (Ok(maps), Ok(program)) = (fs::read_to_string("/proc/self/maps"), fs::read_link("/proc/self/exe"))
    else {
        // Without /proc it stays as large as it was.
        return;
    };
    for code in code_of(&maps, &program.to_string_lossy()) {
        if let Err(error) = give_back(code) {
            tracing::debug!(event = "code_kept", %error, "pages of the start stay in memory");
        }
    }
}

/// Takes the pages of a range out of this process. Nothing may ever have written to it, and it has a file behind it: its
/// content is the same before and after.
fn give_back(range: Range<usize>) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    #[expect(unsafe_code, reason = "only the kernel can take pages away")]
    // SAFETY: whatever is read there next is read from the file, as was said above.
    unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) }?;
    Ok(())
}

/// Where the executable code of `program` lies, by the kernel's table of a process (proc_pid_maps(5)). Nothing else of
/// the file: what is read-only besides may have been written to by the loader, and would lose that.
fn code_of(maps: &str, program: &str) -> Vec<Range<usize>> {
    let range = |line: &str| {
        let mut parts = line.splitn(6, ' ');
        let (range, rights) = (parts.next()?, parts.next()?);
        let file = parts.nth(3)?.trim_start();
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        (rights == "r-xp" && file == program).then_some(number(start)?..number(end)?)
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use rustix::mm::{MapFlags, ProtFlags, mmap};

    use super::*;

    const MAPS: &str = "\
55d0c0a00000-55d0c1200000 r--p 00000000 fe:00 1234                       /usr/bin/par
55d0c1200000-55d0c2e00000 r-xp 00800000 fe:00 1234                       /usr/bin/par
55d0c2e00000-55d0c3000000 r--p 02400000 fe:00 1234                       /usr/bin/par
55d0c3000000-55d0c3010000 rw-p 02600000 fe:00 1234                       /usr/bin/par
7f0000000000-7f0000100000 r-xp 00000000 fe:00 99                         /usr/lib/libc.so.6
7f0000100000-7f0000101000 rwxp 00000000 00:00 0
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn only_code_of_the_program_itself_is_given_back() {
        let expected = 0x55d0_c120_0000..0x55d0_c2e0_0000;
        assert_eq!(code_of(MAPS, "/usr/bin/par"), std::slice::from_ref(&expected));
    }

    #[test]
    fn a_program_whose_file_is_gone_or_that_nobody_knows_is_found_by_its_name_alone() {
        let replaced = MAPS.replace("/usr/bin/par", "/usr/bin/par (deleted)");
        assert_eq!(code_of(&replaced, "/usr/bin/par (deleted)").len(), 1);
        assert!(code_of(MAPS, "/usr/bin/other").is_empty());
        assert!(code_of("no line of a table\n", "/usr/bin/par").is_empty());
    }

    /// Kilobytes of the mapping at a place that are in this process's memory, by proc_pid_smaps(5).
    fn resident(start: usize) -> usize {
        let start = format!("{start:x}-");
        let maps = fs::read_to_string("/proc/self/smaps").expect("a table");
        let mut ours = maps.lines().skip_while(|line| !line.starts_with(&start));
        let rss = ours.find_map(|line| line.strip_prefix("Rss:")).expect("a size");
        rss.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn what_is_given_back_takes_no_memory_and_is_the_same_when_it_is_read_again() {
        const BYTES: usize = 256 << 10;
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), vec![7_u8; BYTES]).expect("written");
        let (rights, flags) = (ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE | MapFlags::POPULATE);
        #[expect(unsafe_code, reason = "mapped memory has no safe form")]
        // SAFETY: a new mapping at a place that the kernel chooses, of a file that stays as it is.
        let start =
            unsafe { mmap(std::ptr::null_mut(), BYTES, rights, flags, file.as_file(), 0) }.expect("mapped");
        let begin = start.expose_provenance();
        assert_eq!(resident(begin), BYTES >> 10);
        give_back(begin..begin + BYTES).expect("given back");
        assert_eq!(resident(begin), 0);
        #[expect(unsafe_code, reason = "mapped memory has no safe form")]
        // SAFETY: the mapping is as long as that, and nobody writes to it.
        let read = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), BYTES) };
        assert!(read.iter().all(|byte| *byte == 7));
    }
}
