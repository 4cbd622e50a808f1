//! `par man`: a page of the manual for `par` and for each of its commands, made of what `--help` says.

use std::{fs, io, io::Write, path::Path};

use clap::Command;
use clap_mangen::Man;

/// Writes the page of `par` itself, or all of them into a directory, which is made.
pub(super) fn manual(command: Command, directory: Option<&Path>, out: &mut dyn Write) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(directory) = directory else { return out.write_all(&page(&Man::new(command))?) };
    fs::create_dir_all(directory)?;
    each(&command, &|command| {
        let man = Man::new(command.clone());
        fs::write(directory.join(man.get_filename()), page(&man)?)
    })
}

/// A command and all below it that are for people.
fn each(command: &Command, work: &impl Fn(&Command) -> io::Result<()>) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        each(below, work)?;
    }
    work(command)
}

/// Examples are lines, which a page would otherwise fill up and stretch.
fn page(man: &Man) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    let text = String::from_utf8_lossy(&page).replace(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n");
    Ok(text.replace("\n.SH VERSION\n", "\n.fi\n.SH VERSION\n").into_bytes())
}
