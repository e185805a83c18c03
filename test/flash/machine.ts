import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPrograms } from '../../scripts/build.ts'

const repository = fileURLToPath(new URL('../../', import.meta.url))
const runner = fileURLToPath(new URL('./machine-run.sh', import.meta.url))

/** A namespace of mounts and a new root need root. */
export const canBeMachine = process.getuid?.() === 0 && process.platform === 'linux'

export interface Ran {
  readonly code: number
  readonly text: string
}

/**
 * A Linux of its own as far as a folder goes: its own /etc, /var, /opt and /boot, this system's programs, no systemd and
 * no network of its own. Commands in it run as its root.
 */
export class Machine {
  readonly root: string

  constructor(root: string) {
    this.root = root
    for (const name of ['etc', 'opt', 'var/lib', 'boot/firmware', 'root'])
      mkdirSync(join(root, name), { recursive: true })
    this.write('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n')
    this.write('etc/group', 'root:x:0:\ndialout:x:20:\nbluetooth:x:120:\n')
    this.write('etc/shadow', 'root:*:19000:0:99999:7:::\n')
    this.write('etc/gshadow', 'root:*::\ndialout:!::\nbluetooth:!::\n')
  }

  write(path: string, content: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true })
    writeFileSync(join(this.root, path), content)
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8')
  }

  /** Runs a command in it to its end. */
  run(...argv: readonly string[]): Promise<Ran> {
    const [command, args] = this.launch(argv)
    return new Promise((resolve) => {
      execFile(command, [...args], { timeout: 60_000 }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), text: `${stdout}${stderr}` })
      })
    })
  }

  launch(argv: readonly string[]): readonly [string, readonly string[]] {
    return ['unshare', ['--mount', '--propagation', 'private', 'sh', runner, this.root, ...argv]]
  }
}

/** The folder of a bundle: the package as it would be packed, built now, and the Node that runs this. */
export async function bundleFolder(folder: string): Promise<void> {
  const own = join(folder, 'node_modules', 'sluice')
  mkdirSync(join(own, 'bin'), { recursive: true })
  await buildPrograms(repository, join(own, 'dist'))
  for (const name of ['package.json', 'bin/sluice.mjs']) copyFileSync(join(repository, name), join(own, name))
  cpSync(join(repository, 'devicemodels', 'eastron'), join(own, 'devicemodels', 'eastron'), { recursive: true })
  const node = join(folder, 'node_modules', `node-linux-${process.arch}`)
  mkdirSync(join(node, 'bin'), { recursive: true })
  copyFileSync(process.execPath, join(node, 'bin', 'node'))
  writeFileSync(join(node, 'package.json'), `{"name": "node-linux-${process.arch}", "version": "24.0.0"}`)
}

/** As `sluice flash bundle` packs it, as fast as gzip can. */
export function packBundle(folder: string, file: string): void {
  const argv = ['--create', '--use-compress-program', 'gzip -1', '--file', file, '--directory', folder, 'node_modules']
  execFileSync('tar', argv)
}
