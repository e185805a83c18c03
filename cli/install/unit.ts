/** Where an installed agent keeps things; all paths as the running system sees them. */
export const PLACES = {
  versions: '/opt/sluice/versions',
  current: '/opt/sluice/current',
  command: '/usr/local/bin/sluice',
  data: '/var/lib/sluice',
  settings: '/etc/sluice',
  environment: '/etc/sluice/agent.env',
  token: '/var/lib/sluice/join.token',
  unit: '/etc/systemd/system/sluice-agent.service',
  wanted: '/etc/systemd/system/multi-user.target.wants/sluice-agent.service',
} as const

export const SERVICE = 'sluice-agent.service'
export const USER = 'sluice'
/** Serial adapters and BlueZ; those a system does not have are left out. */
export const GROUPS = ['dialout', 'bluetooth'] as const

/** As /proc/devices names them: USB adapters, modems, and the UARTs of boards. */
const SERIAL_DEVICES = ['char-ttyUSB', 'char-ttyACM', 'char-ttyAMA', 'char-ttyS', 'char-ttymxc', 'char-ttySC']

export interface UnitOptions {
  /** Raw access to a Bluetooth adapter, without BlueZ: two capabilities and its sockets. */
  readonly bluetoothHci: boolean
  /** Groups of `GROUPS` that exist here. */
  readonly groups: readonly string[]
}

/**
 * The agent as a systemd service, as closed as its work allows. Node makes code at run time, so memory stays writable
 * and executable; the agent measures energy and radios in /sys, so that stays readable.
 */
export function agentUnit({ bluetoothHci, groups }: UnitOptions): string {
  const capabilities = bluetoothHci ? 'CAP_NET_RAW CAP_NET_ADMIN' : ''
  const families = ['AF_UNIX', 'AF_INET', 'AF_INET6', 'AF_NETLINK', ...(bluetoothHci ? ['AF_BLUETOOTH'] : [])]
  return `# Written by 'sluice install'; changes are lost with the next one. Your own: systemctl edit ${SERVICE}
[Unit]
Description=Sluice agent: field devices as twins
Wants=network-online.target
After=network-online.target time-sync.target bluetooth.service
StartLimitIntervalSec=0

[Service]
Type=exec
User=${USER}
Group=${USER}
${groups.length === 0 ? '' : `SupplementaryGroups=${groups.join(' ')}\n`}EnvironmentFile=-${PLACES.environment}
Environment=NODE_ENV=production
ExecStart=${PLACES.command} agent --data ${PLACES.data} --token-file ${PLACES.token} $SLUICE_AGENT_OPTIONS
WorkingDirectory=${PLACES.data}
StateDirectory=sluice
StateDirectoryMode=0700
UMask=0077
Restart=always
RestartSec=2
TimeoutStopSec=30
OOMScoreAdjust=-200

NoNewPrivileges=yes
CapabilityBoundingSet=${capabilities}
AmbientCapabilities=${capabilities}
ProtectSystem=strict
ReadWritePaths=${PLACES.data}
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
RestrictAddressFamilies=${families.join(' ')}
DevicePolicy=closed
${SERIAL_DEVICES.map((name) => `DeviceAllow=${name} rw`).join('\n')}
${bluetoothHci ? 'DeviceAllow=char-misc rw\nDeviceAllow=/dev/rfkill rw\n' : ''}
[Install]
WantedBy=multi-user.target
`
}

/** What a person may add; written once and never again. */
export const ENVIRONMENT_TEMPLATE = `# Read by ${SERVICE}; 'sluice install' leaves it alone. After a change: systemctl restart sluice-agent
# More options of 'sluice agent', for example: --discover usb,mdns --mqtt-port 1883
SLUICE_AGENT_OPTIONS=
`

/** The command of the installed version, whichever that is. \`node\` and \`package\` are below \`current\`. */
export const commandScript = (nodePackage: string): string => `#!/bin/sh
# Written by 'sluice install'.
exec ${PLACES.current}/node_modules/${nodePackage}/bin/node ${PLACES.current}/node_modules/sluice/bin/sluice.mjs "$@"
`
