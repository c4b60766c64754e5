/** Where the service of a machine has its things. */
export const SYSTEM = {
  user: "agentbus",
  config: "/etc/agentbus/agentbus.toml",
  environment: "/etc/agentbus/environment",
  data_dir: "/var/lib/agentbus",
  backups: "/var/backups/agentbus",
} as const;

/** The first line of what is written here: no other unit is replaced or removed. */
export const MARK =
  "# Written by `agentbus service install`; changes belong into a drop-in (systemctl edit agentbus).";

export interface UnitOptions {
  /** The executable. */
  readonly program: string;
  readonly config: string;
  /** system: of the machine, as a user of its own. user: of whoever is logged in. */
  readonly scope: "system" | "user";
  /** Where the configuration has backups made, as an absolute path; "": nowhere. */
  readonly backups?: string;
}

/**
 * A unit that is told when the gateway is ready and sees whether it lives. The store gives up a writer that says nothing for
 * 30 s (limits.writer_silence_ms) by itself, which is why a minute may pass here; a core dump would hold keys and talks.
 */
const SUPERVISION = [
  "Type=notify",
  "NotifyAccess=main",
  "TimeoutStartSec=10min",
  "TimeoutStopSec=90s",
  "WatchdogSec=60s",
  "WatchdogSignal=SIGKILL",
  "Restart=on-failure",
  "RestartSec=3s",
  "RestartPreventExitStatus=2",
  "KillMode=mixed",
  "OOMPolicy=continue",
  "LimitNOFILE=65536",
  "LimitCORE=0",
  "UMask=0077",
];

/** What needs no rights of its own, so that the service of a user can have it too. */
const MODEST = ["NoNewPrivileges=yes", "LockPersonality=yes", "SystemCallArchitectures=native"];

/**
 * Nothing of the machine but its own directory and that of its backups can be written, and little is seen. MemoryDenyWriteExecute is missing, for the
 * JavaScript engine compiles as it runs; ProcSubset=pid is, for it would hide the boot id, by which the store tells a crash
 * from a loss of power.
 */
const SANDBOX = [
  "CapabilityBoundingSet=",
  "AmbientCapabilities=",
  "ProtectSystem=strict",
  "ProtectHome=yes",
  "PrivateTmp=yes",
  "PrivateDevices=yes",
  "PrivateUsers=yes",
  "DevicePolicy=closed",
  "ProtectProc=invisible",
  "ProtectClock=yes",
  "ProtectHostname=yes",
  "ProtectKernelLogs=yes",
  "ProtectKernelModules=yes",
  "ProtectKernelTunables=yes",
  "ProtectControlGroups=yes",
  "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
  "RestrictNamespaces=yes",
  "RestrictRealtime=yes",
  "RestrictSUIDSGID=yes",
  "RemoveIPC=yes",
  "KeyringMode=private",
  "SystemCallFilter=@system-service",
  "SystemCallFilter=~@privileged @resources",
  // A backup is made by a thread that lets everybody else come first. It takes a right, which is not there, to claim more.
  "SystemCallFilter=setpriority",
  "SystemCallErrorNumber=EPERM",
];

/** The text of agentbus.service. @throws Error where a path cannot be said in a unit */
export function systemdUnit({ program, config, scope, backups = "" }: UnitOptions): string {
  const isSystem = scope === "system";
  const written = [...new Set([SYSTEM.backups, ...(backups === "" ? [] : [backups])])];
  const own = [
    `User=${SYSTEM.user}`,
    `Group=${SYSTEM.user}`,
    "StateDirectory=agentbus",
    "StateDirectoryMode=0700",
    `WorkingDirectory=${SYSTEM.data_dir}`,
    // One that is missing is ignored: the gateway says so when it has a backup to make.
    ...written.map((path) => `ReadWritePaths=${named(path, "-")}`),
    "# Where its data is; it comes before what the configuration says.",
    `Environment=AGENTBUS_SERVER_DATA_DIR=${SYSTEM.data_dir}`,
    "# Keys, as NAME=value lines; the file may be missing, and only root has to be able to read it.",
    `EnvironmentFile=-${SYSTEM.environment}`,
  ];
  const lines = [
    MARK,
    "[Unit]",
    "Description=agentbus, the gateway between clients and language models",
    ...(isSystem ? ["Wants=network-online.target", "After=network-online.target"] : []),
    "# What keeps it from starting may pass, such as a disk that is full.",
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    `ExecStart=${quoted(program)} serve --config ${quoted(config)}`,
    // Fails where the configuration cannot be used, and says why; the one that is in force stays.
    `ExecReload=${quoted(program)} config reload --config ${quoted(config)}`,
    ...(isSystem ? own : []),
    // What would have another program run than the one that is named.
    "UnsetEnvironment=BUN_OPTIONS BUN_BE_BUN",
    "",
    ...SUPERVISION,
    "",
    ...MODEST,
    ...(isSystem ? SANDBOX : []),
    "",
    "[Install]",
    `WantedBy=${isSystem ? "multi-user.target" : "default.target"}`,
  ];
  return `${lines.join("\n")}\n`;
}

/** A word of a command line in a unit, in which variables are read within quotes, too. */
function quoted(path: string): string {
  return named(path).replaceAll("$", "$$$$");
}

/** A path in a unit, with what stands before it. Specifiers are read within quotes, too. @throws Error where it cannot be said */
function named(path: string, before = ""): string {
  if (/[\n\r"\\]/.test(path)) throw new Error(`${JSON.stringify(path)} cannot be said in a unit: rename it`);
  const plain = before + path.replaceAll("%", "%%");
  return /^[A-Za-z0-9/._@%$+=:-]+$/.test(path) ? plain : `"${plain}"`;
}
