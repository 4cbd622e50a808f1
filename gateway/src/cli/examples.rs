//! What stands below `--help` of each command, and in its page of the manual: how it is used. Tests parse every line.

/// Of `par` itself.
pub(super) const PAR: &str = "\
Examples:
  par serve --dev my-agent        # serve a package directory, again whenever a file changes
  par doctor -c /etc/par.yaml     # what is wrong with this host or that configuration
  par packages                    # what the par that runs here has mounted

Exit codes: 0 done, 1 refused or a check failed, 64 configuration, 65 package, 69 unreachable, 70 failed,
74 not installed, 75 not ready in time.";

/// Of `par serve`.
pub(super) const SERVE: &str = "\
Examples:
  par serve --dev my-agent
  par serve ./packages 'https://example.org/a-1.0.0.apkg#sha256=9f86d081…'
  par serve -c /etc/par.yaml --port 8443 --tls self-signed
  REGISTRY_URL=s3://bucket/index.json TRUSTED_KEYS=/etc/par/keys.asc par serve";

/// Of `par check`.
pub(super) const CHECK: &str = "\
Examples:
  par check -c /etc/par.yaml      # exit 64 and every fault, with its key and where it came from
  PORT=0 par check";

/// Of `par config`.
pub(super) const CONFIG: &str = "\
Examples:
  par config reference";

/// Of `par config reference`.
pub(super) const REFERENCE: &str = "\
Examples:
  par config reference > configuration.md";

/// Of `par doctor`.
pub(super) const DOCTOR: &str = "\
Examples:
  par doctor -c /etc/par.yaml     # a line for each check, with a remedy where one is needed
  par doctor --json               # {\"healthy\", \"counts\", \"checks\": [{\"name\", \"verdict\", \"found\", \"remedy\"}]}";

/// Of `par inspect`.
pub(super) const INSPECT: &str = "\
Examples:
  par inspect my-agent
  par inspect my-agent-1.0.0.apkg --json
  TRUSTED_KEYS=/etc/par/keys.asc par inspect my-agent-1.0.0.apkg";

/// Of `par packages`.
pub(super) const PACKAGES: &str = "\
Examples:
  par packages
  par packages --json --socket /run/par/par.sock";

/// Of `par agents`.
pub(super) const AGENTS: &str = "\
Examples:
  par agents
  par agents --json";

/// Of `par load`.
pub(super) const LOAD: &str = "\
Examples:
  par load my-agent-1.0.0.apkg
  par load https://example.org/my-agent-1.0.0.apkg --sha256 9f86d081…
  par load my-agent --force       # other bytes under the same version";

/// Of `par unload`.
pub(super) const UNLOAD: &str = "\
Examples:
  par unload my-agent@1.0.0       # calls that run are finished";

/// Of `par reload`.
pub(super) const RELOAD: &str = "\
Examples:
  par reload                      # all sources and the index, now
  par reload my-agent --force     # try again what failed";

/// Of `par rollback`.
pub(super) const ROLLBACK: &str = "\
Examples:
  par rollback my-agent";

/// Of `par enable`.
pub(super) const ENABLE: &str = "\
Examples:
  par enable my-agent/greet";

/// Of `par disable`.
pub(super) const DISABLE: &str = "\
Examples:
  par disable my-agent/greet      # its calls are answered 503 agent_disabled, also after a restart";

/// Of `par upgrade`.
pub(super) const UPGRADE: &str = "\
Examples:
  par upgrade                     # the file it was started from was replaced, or its configuration
  par upgrade --binary /opt/par/0.2.0/par
  par upgrade --json              # {\"former\", \"version\", \"seconds\"}";

/// Of `par env`.
pub(super) const ENV: &str = "\
Examples:
  par env refresh                 # newer versions at the next install";

/// Of `par env refresh`.
pub(super) const REFRESH: &str = "\
Requirements without an exact version are resolved once and keep what they got, whatever is published since.
This forgets what they got. A package gets newer versions when it is installed next: a new version of it, or
a restart. If no index can be reached then, it gets what it had; where pip installs because there is no uv, that
install fails.

Examples:
  par env refresh
  par env refresh --data-dir /var/lib/par
  par env refresh --json          # {\"forgotten\": 3}";

/// Of `par logs`.
pub(super) const LOGS: &str = "\
Examples:
  par logs --follow --agent my-agent
  par logs --request-id 7f3a-000000000001
  par logs --level warn --json
  par logs level debug --target par_pool::fleet --for 10m";

/// Of `par logs level`.
pub(super) const LEVEL: &str = "\
Examples:
  par logs level                  # what counts now
  par logs level debug --for 10m
  par logs level error --target agent_output
  par logs level --reset";

/// Of `par usage`.
pub(super) const USAGE: &str = "\
Examples:
  par usage                       # all time by agent; of the par that runs, or of its data directory
  par usage --by tenant,day --since 7d --csv
  par usage --request 7f3a-000000000001
  par usage verify";

/// Of `par usage verify`.
pub(super) const VERIFY: &str = "\
Examples:
  par usage verify                # exit 1 if something was not taken or not counted";

/// Of `par completions`.
pub(super) const COMPLETIONS: &str = "\
Examples:
  par completions bash > ~/.local/share/bash-completion/completions/par
  par completions zsh > ~/.zfunc/_par
  par completions fish > ~/.config/fish/completions/par.fish";

/// Of `par man`.
pub(super) const MAN: &str = "\
Examples:
  par man | man -l -              # the page of par itself
  par man ~/.local/share/man/man1 # a file for it and for each of its commands";
