import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../../../api/clock.ts'
import { missingForPods } from '../../images/busybox.test-helper.ts'
import { childOf, OwnMachine } from '../own-machine.test-helper.ts'
import { ContainerdRuntime } from './runtime.ts'

const NEEDED = [
  ['/usr/bin/containerd', 'containerd'],
  ['/usr/sbin/runc', 'runc'],
  ['/usr/lib/cni/bridge', 'containernetworking-plugins'],
] as const

/** What is needed for the tests with containerd and is not here, or undefined. */
export function missingForContainerd(): string | undefined {
  const missing = NEEDED.filter(([path]) => !existsSync(path)).map(([, name]) => name)
  return missing.length === 0 ? missingForPods() : `apt-get install ${missing.join(' ')}`
}

/** A containerd of its own on a machine of its own. */
export class ContainerdHouse implements AsyncDisposable {
  readonly machine: OwnMachine
  readonly #disposal: AsyncDisposableStack
  #daemon: ChildProcess | undefined

  private constructor(machine: OwnMachine, disposal: AsyncDisposableStack) {
    this.machine = machine
    this.#disposal = disposal
  }

  /** With `held`, what runc does can be held up: `hold`. */
  static async start({ held = false }: { readonly held?: boolean } = {}): Promise<ContainerdHouse> {
    await using disposal = new AsyncDisposableStack()
    const machine = disposal.use(await OwnMachine.start())
    const { folder } = machine
    mkdirSync(join(folder, 'certs.d'))
    writeFileSync(
      join(folder, 'config.toml'),
      `version = 2
root = "${folder}/root"
state = "${folder}/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "${folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "${folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "${folder}/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "${folder}/certs.d"
${held ? heldRunc(folder) : ''}`,
    )
    const house = new ContainerdHouse(machine, disposal.move())
    await house.up()
    return house
  }

  get socket(): string {
    return join(this.machine.folder, 'containerd.sock')
  }

  get log(): string {
    return readFileSync(join(this.machine.folder, 'containerd.log'), 'utf8')
  }

  /** Starts the daemon; resolves when it takes calls. */
  async up(): Promise<void> {
    const { folder } = this.machine
    const output = openSync(join(folder, 'containerd.log'), 'a')
    this.#daemon = this.machine.run(['containerd', '-c', join(folder, 'config.toml')], output)
    while (!(await this.#answers())) {
      if (this.#daemon.exitCode !== null) throw new Error(`containerd ended: ${this.log.slice(-2000)}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Ends the daemon as a fault would. */
  async kill(): Promise<void> {
    const ended = once(this.#daemon!, 'exit')
    process.kill(childOf(this.#daemon!.pid!), 'SIGKILL')
    await ended
  }

  /** From now on runc waits there, until it is released. */
  hold(
    point: 'before-start' | 'after-start',
    signal: AbortSignal,
  ): { readonly reached: Promise<void>; release(): void } {
    const folder = join(this.machine.folder, 'runc')
    const [hold, at] = ['hold', 'at'].map((word) => join(folder, `${word}-${point}`)) as [string, string]
    rmSync(at, { force: true })
    writeFileSync(hold, '')
    const { promise: reached, resolve, reject } = Promise.withResolvers<void>()
    const watcher = watch(folder, () => existsSync(at) && resolve())
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    return { reached: reached.finally(() => watcher.close()), release: () => rmSync(hold, { force: true }) }
  }

  open(owner = 'gw-1'): Promise<ContainerdRuntime> {
    const { folder, cgroupBase, dial } = this.machine
    return ContainerdRuntime.open(
      { socket: this.socket, owner, folder: join(folder, 'agent'), clock: systemClock, dial, cgroupBase },
      AbortSignal.timeout(20_000),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposal[Symbol.asyncDispose]()
  }

  async #answers(): Promise<boolean> {
    try {
      await (await this.open('nobody'))[Symbol.asyncDispose]()
      return true
    } catch {
      return false
    }
  }
}

/** A runc in front of the real one, and what containerd's configuration says of it. */
function heldRunc(folder: string): string {
  const own = join(folder, 'runc')
  mkdirSync(own)
  const script = `#!/bin/sh
for word; do case $word in create | start | kill | delete) verb=$word; break ;; esac; done
hold() {
  [ -e ${own}/hold-$1 ] || return
  : > ${own}/at-$1
  while [ -e ${own}/hold-$1 ]; do sleep 0.02; done
}
hold before-$verb
/usr/sbin/runc "$@"
code=$?
hold after-$verb
exit $code
`
  writeFileSync(join(own, 'runc'), script, { mode: 0o755 })
  return `[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "${own}/runc"
`
}
