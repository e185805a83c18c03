import { execFile, spawn } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'

const run = promisify(execFile)

const ROOT = resolve(import.meta.dirname, '../..')
/** The kernel is kept between runs: it is fetched once for each version that Debian has. */
const CACHE = join(tmpdir(), 'sluice-kernel')
const INIT_MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay']
const BOOT_TIMEOUT_MS = 540_000

/** What the guest printed as results, one JSON value a name. */
export type GuestReport = Readonly<Record<string, unknown>>

type Need = readonly [command: string, debian: string]

const NEEDS: readonly Need[] = [
  ['/usr/bin/qemu-system-x86_64', 'qemu-system-x86'],
  ['/bin/busybox', 'busybox-static'],
  ['/usr/bin/cpio', 'cpio'],
  ['/sbin/modprobe', 'kmod'],
  ['/usr/bin/iasl', 'acpica-tools'],
]

/** The Debian packages that are missing here; `more` is what the program in the guest needs beside a guest. */
export const missingPackages = (more: readonly Need[]): string[] =>
  [...NEEDS, ...more]
    .filter(([command]) => !existsSync(command) && !existsSync(join('/usr', command)))
    .map(([, debian]) => debian)

/**
 * Boots Debian's own kernel in QEMU with this machine's files shared read-only, runs the first of `programs` in it as root
 * and resolves to what that printed. The others lie beside it, under their own names, for it to start. Nothing of the
 * guest is committed: kernel and modules come from the package archive. With SLUICE_GUEST_LOG=FILE all that it prints is
 * written there as it comes.
 */
export async function bootGuest(programs: readonly URL[], say: (line: string) => void): Promise<GuestReport> {
  const kernel = await fetchKernel(say)
  const work = join(CACHE, `run-${process.pid}`)
  mkdirSync(work, { recursive: true })
  try {
    await run('iasl', ['-p', join(work, 'power'), join(import.meta.dirname, 'power.asl')])
    const program = await bundle(programs, work)
    const initramfs = await makeInitramfs(kernel, work, program)
    return await boot(kernel, initramfs, join(work, 'power.aml'), say)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

interface Kernel {
  readonly version: string
  readonly image: string
  /** Folder that holds `lib/modules/<version>`. */
  readonly root: string
}

async function fetchKernel(say: (line: string) => void): Promise<Kernel> {
  const { stdout } = await run('apt-cache', ['depends', 'linux-image-amd64'])
  const name = /Depends: (linux-image-(\S+))/.exec(stdout)
  if (name === null) throw new Error('apt-cache knows no linux-image-amd64; run apt-get update')
  const [, debian, version] = name as unknown as [string, string, string]
  const root = join(CACHE, version)
  const kernel = { version, root, image: join(root, 'boot', `vmlinuz-${version}`) }
  if (existsSync(join(root, 'complete'))) return kernel
  say(`fetching ${debian} (once, 70 MB)`)
  rmSync(root, { recursive: true, force: true })
  mkdirSync(root, { recursive: true })
  await run('apt-get', ['download', debian], { cwd: root })
  const archive = readdirSync(root).find((file) => file.endsWith('.deb'))
  if (archive === undefined) throw new Error(`apt-get download ${debian} left no file`)
  await run('dpkg-deb', ['-x', archive, '.'], { cwd: root })
  rmSync(join(root, archive))
  await run('depmod', ['-b', root, version])
  writeFileSync(join(root, 'complete'), '')
  return kernel
}

const INIT = (modulesRoot: string, version: string, program: string) => `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /host /upper /new
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules.order); do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro host /host
/bin/busybox mount -t tmpfs tmpfs /upper
/bin/busybox mkdir -p /upper/data /upper/work
/bin/busybox mount -t overlay -o lowerdir=/host,upperdir=/upper/data,workdir=/upper/work overlay /new
for folder in proc sys dev run tmp; do /bin/busybox mkdir -p /new/$folder; done
/bin/busybox mount -t proc proc /new/proc
/bin/busybox mount -t sysfs sys /new/sys
/bin/busybox mount -t debugfs debug /new/sys/kernel/debug
/bin/busybox mount -t devtmpfs dev /new/dev
/bin/busybox mkdir -p /new/dev/pts
/bin/busybox mount -t devpts devpts /new/dev/pts
/bin/busybox mount -t tmpfs tmpfs /new/run
# What the kernel loads by itself it finds here.
/bin/busybox mkdir -p /new/usr/lib/modules
/bin/busybox ln -s ${modulesRoot}/lib/modules/${version} /new/usr/lib/modules/${version}
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp MODULES_ROOT=${modulesRoot} MODULES_VERSION=${version}
/bin/busybox chroot /new ${process.execPath} ${program} 2>&1
/bin/busybox echo "SLUICE exit $?"
/bin/busybox poweroff -f
`

/** The agent and what asks it in one file: a guest without hardware acceleration takes a minute to load hundreds. */
async function bundle(programs: readonly URL[], work: string): Promise<string> {
  symlinkSync(join(ROOT, 'node_modules'), join(work, 'node_modules'))
  writeFileSync(join(work, 'package.json'), '{"type":"module"}')
  await build({
    entryPoints: programs.map((program) => fileURLToPath(program)),
    entryNames: '[name]',
    outdir: work,
    outExtension: { '.js': '.ts' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    packages: 'external',
    logLevel: 'error',
  })
  return join(work, basename(fileURLToPath(programs[0]!)))
}

/** A busybox, the modules that reach the shared files, and a script. */
async function makeInitramfs(kernel: Kernel, work: string, program: string): Promise<string> {
  const tree = join(work, 'initramfs')
  for (const folder of ['bin', 'modules']) mkdirSync(join(tree, folder), { recursive: true })
  copyFileSync('/bin/busybox', join(tree, 'bin/busybox'))
  const order: string[] = []
  for (const module of INIT_MODULES) {
    const argv = ['-d', kernel.root, '-S', kernel.version, '--show-depends', module]
    const { stdout } = await run('modprobe', argv, { env: { PATH: '/usr/sbin:/sbin:/usr/bin:/bin' } })
    for (const [, path] of stdout.matchAll(/^insmod (\S+)/gm)) {
      const file = path!.slice(path!.lastIndexOf('/') + 1)
      if (order.includes(file)) continue
      order.push(file)
      copyFileSync(path!, join(tree, 'modules', file))
    }
  }
  writeFileSync(join(tree, 'modules.order'), order.join('\n'))
  writeFileSync(join(tree, 'init'), INIT(kernel.root, kernel.version, program), { mode: 0o755 })
  const archive = join(work, 'initramfs.cpio')
  const cpio = spawn('cpio', ['--create', '--format=newc', '--quiet', '-F', archive], {
    cwd: tree,
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  const files = [
    '.',
    'init',
    'modules.order',
    'bin',
    'bin/busybox',
    'modules',
    ...order.map((file) => `modules/${file}`),
  ]
  cpio.stdin.end(`${files.join('\n')}\n`)
  const code = await new Promise((done) => cpio.on('exit', done))
  if (code !== 0 || readFileSync(archive).length === 0) throw new Error(`cpio ended with ${code}`)
  return archive
}

async function boot(
  kernel: Kernel,
  initramfs: string,
  ssdt: string,
  say: (line: string) => void,
): Promise<GuestReport> {
  const argv = [
    // One processor and one thread of the emulator: with two, V8 compiles on one while the other runs what it wrote, and
    // Node died of that at its start in 14 of 20 guests (segmentation fault, or a failed check of V8's code pages).
    // Protection keys off: V8 keeps its code behind them where a processor has them, and aborts on the emulated ones too.
    ...['-machine', 'q35', '-accel', 'tcg,thread=single', '-cpu', 'max,-pku', '-smp', '1', '-m', '2048'],
    ...['-nographic', '-no-reboot', '-nic', 'none', '-serial', 'stdio', '-monitor', 'none'],
    ...[
      '-kernel',
      kernel.image,
      '-initrd',
      initramfs,
      '-append',
      'console=ttyS0 quiet panic=-1 net.ifnames=0 cryptomgr.notests=1 no_timer_check',
    ],
    ...['-acpitable', `file=${ssdt}`],
    ...['-virtfs', `local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap`],
  ]
  const guest = spawn('qemu-system-x86_64', argv, { stdio: ['ignore', 'pipe', 'pipe'], cwd: ROOT })
  const timer = setTimeout(() => guest.kill('SIGKILL'), BOOT_TIMEOUT_MS)
  const report: Record<string, unknown> = {}
  const tail: string[] = []
  let ended: string | undefined
  const log = process.env['SLUICE_GUEST_LOG']
  const take = (line: string) => {
    if (log !== undefined) appendFileSync(log, `${new Date().toISOString()} ${line}\n`)
    tail.push(line)
    if (tail.length > 60) tail.shift()
    const result = /SLUICE result (\w+) (.*)$/.exec(line)
    if (result !== null) report[result[1]!] = JSON.parse(result[2]!)
    const said = /SLUICE say (.*)$/.exec(line)
    if (said !== null) say(said[1]!)
    ended ??= /SLUICE exit (\d+)/.exec(line)?.[1]
  }
  for (const stream of [guest.stdout, guest.stderr]) {
    let held = ''
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      held += chunk
      const lines = held.split(/\r?\n/)
      held = lines.pop() ?? ''
      lines.forEach(take)
    })
  }
  await new Promise((done) => guest.on('exit', done))
  clearTimeout(timer)
  if (ended !== '0')
    throw new Error(`the guest did not end well (${ended ?? 'no end'}); its last lines:\n${tail.join('\n')}`)
  return report
}
