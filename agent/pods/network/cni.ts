import { accessSync, constants, existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../../api/errors.ts'
import { freeSubnet } from './subnet.ts'

const FILE = '10-sluice.conflist'
const NETWORK = 'sluice'
/** The kernel takes names of up to 15 bytes. */
const BRIDGE = 'sluice0'
const PLUGINS = ['bridge', 'host-local', 'portmap', 'loopback']
/** Where distributions put the plugins. */
const USUAL_FOLDERS = ['/usr/lib/cni', '/opt/cni/bin', '/usr/libexec/cni']

export interface CniFolders {
  /** Where the runtime reads the configuration of networks. */
  readonly configuration: string
  /** Where it looks for plugins. */
  readonly plugins: string
}

/**
 * A network for pods (CNI specification 1.0, in the words of 0.4 that older runtimes know): a bridge of this machine with
 * addresses from one range, translated on the way out, and ports of the machine led into pods.
 */
export function bridgeNetwork(subnet: string, bridge = BRIDGE): Readonly<Record<string, unknown>> {
  return {
    cniVersion: '0.4.0',
    name: NETWORK,
    plugins: [
      {
        type: 'bridge',
        bridge,
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: { type: 'host-local', ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }] },
      },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    ],
  }
}

/**
 * Gives the runtime a network where it has none at all; one that somebody else configured is never touched. Throws
 * `SLUICE_POD_NETWORK` with what to install or to choose.
 */
export function ensureNetwork(folders: CniFolders, route?: string): void {
  const missing = PLUGINS.filter((name) => !isProgram(join(folders.plugins, name)))
  if (missing.length > 0) {
    const elsewhere = USUAL_FOLDERS.find((folder) => PLUGINS.every((name) => isProgram(join(folder, name))))
    throw new SluiceError(
      'SLUICE_POD_NETWORK',
      `Pods get no network: ${missing.join(', ')} not in ${folders.plugins}`,
      {
        hint:
          elsewhere === undefined
            ? 'Install the CNI plugins (apt-get install containernetworking-plugins), or give the pod hostNetwork: true.'
            : `They are in ${elsewhere}: set bin_dir = "${elsewhere}" for the CRI plugin in containerd's config.toml and restart it.`,
      },
    )
  }
  if (existsSync(folders.configuration) && readdirSync(folders.configuration).some(isConfiguration)) return
  const subnet = freeSubnet(route)
  if (subnet === undefined) {
    throw new SluiceError('SLUICE_POD_NETWORK', 'Pods get no network: every range that would be used is in use here', {
      hint: `Write a CNI configuration into ${folders.configuration} yourself.`,
    })
  }
  mkdirSync(folders.configuration, { recursive: true, mode: 0o755 })
  const path = join(folders.configuration, FILE)
  // The runtime watches the folder and reads what ends in its words.
  writeFileSync(`${path}.new`, `${JSON.stringify(bridgeNetwork(subnet), undefined, 2)}\n`, { mode: 0o644 })
  renameSync(`${path}.new`, path)
}

const isConfiguration = (name: string): boolean => /\.(conf|conflist|json)$/.test(name)

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
