import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../../../api/clock.ts'
import { missingForPods } from '../../images/busybox.test-helper.ts'
import { childOf, OwnMachine } from '../own-machine.test-helper.ts'
import { PodmanRuntime } from './runtime.ts'

/** What is needed for the tests with podman and is not here, or undefined. */
export function missingForPodman(): string | undefined {
  const needed = [
    ['/usr/bin/podman', 'podman'],
    ['/usr/sbin/runc', 'runc'],
    ['/usr/lib/cni/bridge', 'containernetworking-plugins'],
  ] as const
  const missing = needed.filter(([path]) => !existsSync(path)).map(([, name]) => name)
  return missing.length === 0 ? missingForPods() : `apt-get install ${missing.join(' ')}`
}

/** A podman of its own on a machine of its own. */
export class PodmanHouse implements AsyncDisposable {
  readonly machine: OwnMachine
  #service: ChildProcess | undefined

  private constructor(machine: OwnMachine) {
    this.machine = machine
  }

  static async start(): Promise<PodmanHouse> {
    await using disposal = new AsyncDisposableStack()
    const machine = disposal.use(await OwnMachine.start())
    const { folder } = machine
    const etc = join(folder, 'etc')
    mkdirSync(etc)
    writeFileSync(
      join(etc, 'containers.conf'),
      `[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "${folder}/tmp"
static_dir = "${folder}/libpod"
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=32768:32768"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["/usr/lib/cni"]
network_config_dir = "${folder}/cni"
`,
    )
    writeFileSync(
      join(etc, 'storage.conf'),
      `[storage]\ndriver = "overlay"\nrunroot = "${folder}/run"\ngraphroot = "${folder}/graph"\n`,
    )
    writeFileSync(join(etc, 'registries.conf'), '')
    const house = new PodmanHouse(machine)
    await house.up()
    disposal.move()
    return house
  }

  get log(): string {
    return readFileSync(join(this.machine.folder, 'podman.log'), 'utf8')
  }

  async up(): Promise<void> {
    const { folder } = this.machine
    const output = openSync(join(folder, 'podman.log'), 'a')
    const etc = join(folder, 'etc')
    this.#service = this.machine.run(
      [
        ...['env', `CONTAINERS_CONF=${etc}/containers.conf`, `CONTAINERS_STORAGE_CONF=${etc}/storage.conf`],
        ...[`CONTAINERS_REGISTRIES_CONF=${etc}/registries.conf`, 'podman', 'system', 'service', '--time=0'],
        `unix://${folder}/podman.sock`,
      ],
      output,
    )
    while (!(await this.#answers())) {
      if (this.#service.exitCode !== null) throw new Error(`podman ended: ${this.log.slice(-2000)}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Ends the service as a fault would. */
  async kill(): Promise<void> {
    const ended = once(this.#service!, 'exit')
    process.kill(childOf(this.#service!.pid!), 'SIGKILL')
    await ended
  }

  open(owner = 'gw-1'): Promise<PodmanRuntime> {
    const { machine } = this
    return PodmanRuntime.open(
      {
        ...{ socket: join(machine.folder, 'podman.sock'), owner, folder: join(machine.folder, 'agent') },
        ...{ clock: systemClock, cgroupBase: `/${machine.cgroupBase}` },
        spawn: (argv) => {
          const [program, ...args] = machine.way(argv)
          return spawn(program!, args, { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' })
        },
      },
      AbortSignal.timeout(20_000),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]()
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
