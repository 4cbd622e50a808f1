//! The command line: what can be said, and who does it.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, error::ErrorKind};
use par_pool::package::Loaders;

mod arguments;
mod check;
mod client;
mod doctor;
mod examples;
mod inspect;
mod levels;
mod logs;
mod manage;
mod manual;
mod refresh;
mod signature;
mod table;
mod upgrade;
mod usage;
mod verify;

use arguments::{Arguments, Command, ConfigTask, EnvTask, LogsTask, LogsWanted, UsageTask, UsageWanted};

use crate::{
    config::{Config, Environment},
    exit::Exit,
    observe::colours,
    upgrade::REHEARSAL,
};

/// Why a command did not do what was asked; the text is one line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}

impl From<io::Error> for Failure {
    /// Of writing the result. A reader that has seen enough is no failure.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, "");
        }
        Self::new(Exit::Failed, format!("the result cannot be written: {error}"))
    }
}

/// Parses the command line of this process and does what it says.
pub(crate) fn main() -> ExitCode {
    let begin = std::time::Instant::now();
    // `par` starts itself like this for the workers of loaders. It is no command of people's: nobody is offered it.
    if std::env::args_os().nth(1).is_some_and(|word| word == Loaders::NURSERY) {
        return par_pool::process::nursery();
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == REHEARSAL) {
        return rehearse(begin);
    }
    let environment = Environment::of_process();
    let serve = |config| crate::app::serve(config, begin);
    dispatch(std::env::args_os(), &environment, serve, &mut io::stdout(), &mut io::stderr())
}

/// Starts beside a `par` that asks whether this binary would serve, and goes with it.
fn rehearse(begin: std::time::Instant) -> ExitCode {
    // Where the kernel refuses, the rehearsal ends by its own clock.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).ok();
    let mut words = std::env::args_os();
    let program = words.next();
    let place = words.by_ref().nth(1).unwrap_or_default();
    let serve = |config| crate::app::rehearse(config, std::path::Path::new(&place), begin);
    let arguments = program.into_iter().chain(words);
    dispatch(arguments, &Environment::of_process(), serve, &mut io::stdout(), &mut io::stderr())
}

fn dispatch(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    serve: impl FnOnce(Config) -> ExitCode,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    let done = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => act(arguments.command, environment, serve, out),
        Err(error) => return usage(&error, out, err),
    };
    match done.and_then(|code| out.flush().map(|()| code).map_err(Failure::from)) {
        Ok(code) => code,
        Err(failure) => {
            if !failure.text.is_empty() {
                say(err, &format!("par: {}\n", failure.text));
            }
            failure.exit.into()
        }
    }
}

fn act(
    command: Command,
    environment: &Environment,
    serve: impl FnOnce(Config) -> ExitCode,
    out: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(settings) => match Config::load(&settings.flags(), environment) {
            Ok(config) => Ok(serve(config)),
            Err(faults) => {
                let failure = check::failure(&faults);
                // It was valid a moment ago, when this process was another one.
                crate::upgrade::come_back(&failure.text);
                Err(failure)
            }
        },
        Command::Check(settings) => {
            check::check(&settings.flags(), environment, out).map(|()| ExitCode::SUCCESS)
        }
        Command::Inspect { package, json } => {
            in_runtime(inspect::inspect(&package, json, environment, out))?.map(|()| ExitCode::SUCCESS)
        }
        Command::Config { task: ConfigTask::Reference } => {
            out.write_all(crate::config::reference(crate::live::is_live).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor { settings, json } => {
            in_runtime(doctor::doctor(&settings.flags(), environment, json, out))?.map(|()| ExitCode::SUCCESS)
        }
        Command::Env { task: EnvTask::Refresh { json, place } } => {
            refresh::refresh(&crate::config::data_dir(&place.flags(), environment), json, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "par", out);
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { directory } => {
            manual::manual(Arguments::command(), directory.as_deref(), out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Logs(LogsWanted {
            task: Some(LogsTask::Level { level, target, lasts, reset, remote }),
            ..
        }) => {
            let socket = socket(&remote, environment)?;
            let change = levels::Change { level, target, lasts, reset };
            in_runtime(levels::levels(&socket, change, remote.json, out))?.map(|()| ExitCode::SUCCESS)
        }
        Command::Logs(wanted) => {
            let socket = socket(&wanted.remote, environment)?;
            in_runtime(logs::logs(&socket, &wanted, out))?.map(|()| ExitCode::SUCCESS)
        }
        Command::Usage(UsageWanted { task: Some(UsageTask::Verify { by, remote }), .. }) => {
            let client = client::Client::new(&socket(&remote, environment)?);
            in_runtime(verify::verify(&client, by.as_deref(), remote.json, out))?.map(|()| ExitCode::SUCCESS)
        }
        Command::Usage(wanted) => {
            let socket = socket(&wanted.remote, environment)?;
            let data_dir = crate::config::data_dir(&wanted.remote.flags(), environment);
            in_runtime(usage::usage((&socket, &data_dir), &wanted, out))?.map(|()| ExitCode::SUCCESS)
        }
        Command::Upgrade { binary, patience, remote } => {
            let patience = crate::config::time(&patience)
                .map_err(|problem| Failure::new(Exit::Configuration, format!("--timeout: {problem}")))?;
            let socket = socket(&remote, environment)?;
            in_runtime(upgrade::upgrade(&socket, binary, patience, remote.json, out))?
                .map(|()| ExitCode::SUCCESS)
        }
        Command::Packages(remote) => manage(&remote, environment, manage::Task::Packages, out),
        Command::Agents(remote) => manage(&remote, environment, manage::Task::Agents, out),
        Command::Load { source, sha256, force, remote } => {
            manage(&remote, environment, manage::Task::Load { source, sha256, force }, out)
        }
        Command::Unload { package, remote } => {
            manage(&remote, environment, manage::Task::Unload { package }, out)
        }
        Command::Reload { package, force, remote } => {
            manage(&remote, environment, manage::Task::Reload { package, force }, out)
        }
        Command::Rollback { package, remote } => {
            manage(&remote, environment, manage::Task::Rollback { package }, out)
        }
        Command::Enable { agent, remote } => {
            manage(&remote, environment, manage::Task::Switch { agent, enabled: true }, out)
        }
        Command::Disable { agent, remote } => {
            manage(&remote, environment, manage::Task::Switch { agent, enabled: false }, out)
        }
    }
}

fn manage(
    remote: &arguments::Remote,
    environment: &Environment,
    task: manage::Task,
    out: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    let socket = socket(remote, environment)?;
    in_runtime(manage::manage(&socket, task, remote.json, out))?.map(|()| ExitCode::SUCCESS)
}

fn socket(remote: &arguments::Remote, environment: &Environment) -> Result<PathBuf, Failure> {
    crate::config::socket(&remote.flags(), environment).map_err(|faults| check::failure(&faults))
}

/// One thread is enough for a command that asks one question.
fn in_runtime<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("no runtime: {error}")))?;
    let done = runtime.block_on(work);
    // A name or a disk that does not answer must not hold up what is done.
    runtime.shutdown_background();
    Ok(done)
}

fn usage(error: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let text = error.render();
    let text = |paint: bool| if paint { text.ansi().to_string() } else { text.to_string() };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        say(out, &text(colours::on_stdout()));
        return ExitCode::SUCCESS;
    }
    say(err, &text(colours::on_stderr()));
    Exit::Configuration.into()
}

/// Nothing can be done about a terminal that is gone.
fn say(to: &mut dyn Write, text: &str) {
    to.write_all(text.as_bytes()).and_then(|()| to.flush()).ok();
}

#[cfg(test)]
mod tests;
