#!/usr/bin/env node
// Runs on whatever Node the machine has (20 or newer): installs what is missing, then hands over to the pinned Node.
// No dependency, no TypeScript: this file is the only one that must work before anything is installed.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { arch, platform } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const modules = join(root, 'node_modules')
const stampFile = join(modules, '.sluice-install')
const [task = 'help', ...args] = process.argv.slice(2)
const say = (line) => process.stderr.write(`sluice: ${line}\n`)

function installPackages() {
  const lock = readFileSync(join(root, 'package-lock.json'))
  const stamp = createHash('sha256').update(lock).digest('hex')
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  say('installing the packages named in package-lock.json (once, about a minute) ...')
  // Install scripts are not needed: every native part ships prebuilt inside its package. `npm ci` would refuse where a
  // registry does not carry some other platform's optional package; this installs the locked versions all the same.
  const argv = [
    'install',
    '--include=dev',
    '--no-save',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    // A connection that died without a word is given up after a minute and asked again, not waited for.
    '--fetch-timeout=60000',
    '--fetch-retries=4',
  ]
  const npm = spawnSync('npm', argv, { cwd: root, stdio: ['ignore', 2, 2] })
  if (npm.error || npm.status !== 0) {
    say(`npm install failed${npm.error ? `: ${npm.error.message}` : ` with exit code ${npm.status}`}.`)
    say('Is npm installed and the package registry reachable? Fix that and run the same command again.')
    process.exit(1)
  }
  mkdirSync(modules, { recursive: true })
  writeFileSync(stampFile, stamp)
}

/** The pinned Node from the platform package, or the running one when it is new enough. */
function nodeBinary() {
  const pinned = join(modules, `node-${platform()}-${arch()}`, 'bin', 'node')
  if (existsSync(pinned)) return pinned
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath
  say(`no prebuilt Node 24 for ${platform()}-${arch()}, and this is Node ${process.versions.node}.`)
  say('Install Node 24 or newer and run the same command again.')
  process.exit(1)
}

/** Debian packages that a task uses; installed where root and apt allow, otherwise named. */
const SYSTEM_TOOLS = {
  start: [{ command: 'kubectl', debian: 'kubernetes-client', use: 'the kubectl commands of the tour' }],
  test: [
    { command: 'ipmitool', debian: 'ipmitool', use: 'the tests of a management controller' },
    { command: 'ipmi_sim', debian: 'openipmi', use: 'the tests of a management controller' },
    {
      command: 'libopenipmi-dev',
      file: '/usr/include/OpenIPMI/mcserv.h',
      debian: 'libopenipmi-dev',
      use: 'the tests of a management controller that speaks DCMI',
    },
    { command: 'kubectl', debian: 'kubernetes-client', use: 'the kubectl conformance suite' },
    { command: 'openssl', debian: 'openssl', use: 'the certificate tests' },
    { command: 'mosquitto', debian: 'mosquitto', use: 'the tests of an external MQTT broker' },
    { command: 'dbus-daemon', debian: 'dbus-daemon', use: 'the tests of BlueZ over D-Bus' },
    {
      command: 'python3-dbusmock',
      file: '/usr/lib/python3/dist-packages/dbusmock',
      debian: 'python3-dbusmock',
      use: 'the tests of BlueZ over D-Bus',
    },
    { command: 'btvirt', debian: 'bluez-test-tools', use: 'the tests on a second, foreign radio' },
    { command: 'arm-none-eabi-gcc', debian: 'gcc-arm-none-eabi', use: 'the tests that build firmware' },
    {
      command: 'python3-cryptography',
      file: '/usr/lib/python3/dist-packages/cryptography',
      debian: 'python3-cryptography',
      use: 'the tests of images that another maker signed',
    },
    { command: 'qemu-system-arm', debian: 'qemu-system-arm', use: 'the tests on emulated boards' },
    { command: 'clang', debian: 'clang', use: 'the fuzzing of the firmware' },
    {
      command: 'libFuzzer',
      file: '/usr/share/doc/libclang-rt-14-dev',
      debian: 'libclang-rt-14-dev',
      use: 'the fuzzing of the firmware',
    },
    { command: 'cppcheck', debian: 'cppcheck', use: 'the checks of the firmware' },
    { command: 'clang-tidy', debian: 'clang-tidy', use: 'the checks of the firmware' },
    { command: 'mbpoll', debian: 'mbpoll', use: 'the tests of the firmware with foreign masters' },
    { command: 'stm32flash', debian: 'stm32flash', use: 'the test of the STM32 loader with a foreign client' },
    {
      command: 'libmodbus',
      file: '/usr/include/modbus/modbus.h',
      debian: 'libmodbus-dev',
      use: 'the tests of the firmware with foreign masters',
    },
    { command: 'bwrap', debian: 'bubblewrap', use: 'the tests of pods' },
    { command: 'busybox', debian: 'busybox-static', use: 'the tests of pods' },
    { command: 'wasm-ld', debian: 'lld', use: 'the tests of WebAssembly pods' },
    {
      command: 'wasi-libc',
      file: '/usr/share/doc/wasi-libc',
      debian: 'wasi-libc',
      use: 'the tests of WebAssembly pods',
    },
    {
      command: 'libclang-rt for wasm32',
      file: '/usr/share/doc/libclang-rt-14-dev-wasm32',
      debian: 'libclang-rt-14-dev-wasm32',
      use: 'the tests of WebAssembly pods',
    },
    { command: 'skopeo', debian: 'skopeo', use: 'the tests of pods' },
    { command: 'docker-registry', debian: 'docker-registry', use: 'the tests of pods' },
    { command: 'containerd', debian: 'containerd', use: 'the tests of pods with containerd' },
    { command: 'runc', debian: 'runc', use: 'the tests of pods with containerd and podman' },
    {
      command: 'bridge (CNI)',
      file: '/usr/lib/cni/bridge',
      debian: 'containernetworking-plugins',
      use: 'the tests of pods with containerd',
    },
    { command: 'podman', debian: 'podman', use: 'the tests of pods with podman' },
    { command: 'mtools', debian: 'mtools', use: 'the tests of flashing' },
    { command: 'mkfs.vfat', debian: 'dosfstools', use: 'the tests of flashing' },
    { command: 'sfdisk', debian: 'fdisk', use: 'the tests of flashing' },
    { command: 'xz', debian: 'xz-utils', use: 'the tests of flashing' },
    { command: 'zstd', debian: 'zstd', use: 'the tests of flashing' },
    { command: 'promtool', debian: 'prometheus', use: 'the check of the metrics page' },
    { command: 'chromium', debian: 'chromium', use: 'the tests in a browser' },
  ],
  kernel: [
    { command: 'qemu-system-x86_64', debian: 'qemu-system-x86', use: 'the guest with a kernel of its own' },
    { command: 'busybox', debian: 'busybox-static', use: 'the guest with a kernel of its own' },
    { command: 'cpio', debian: 'cpio', use: 'the guest with a kernel of its own' },
    { command: 'modprobe', debian: 'kmod', use: 'the guest with a kernel of its own' },
    { command: 'iasl', debian: 'acpica-tools', use: 'the battery of the guest' },
    { command: 'hostapd', debian: 'hostapd', use: 'the access points of the guest' },
    { command: 'wpa_supplicant', debian: 'wpasupplicant', use: 'the station of the guest' },
    { command: 'iw', debian: 'iw', use: 'the station of the guest' },
    { command: 'bluetoothd', file: '/usr/sbin/bluetoothd', debian: 'bluez', use: 'the Bluetooth of the guest' },
    { command: 'btvirt', debian: 'bluez-test-tools', use: 'the Bluetooth of the guest' },
    { command: 'dbus-daemon', debian: 'dbus-daemon', use: 'the Bluetooth of the guest' },
  ],
  bench: [
    { command: 'bwrap', debian: 'bubblewrap', use: 'the start of pods' },
    { command: 'busybox', debian: 'busybox-static', use: 'the start of pods' },
    { command: 'dbus-daemon', debian: 'dbus-daemon', use: 'the cost of advertisements through BlueZ' },
    { command: 'mosquitto', debian: 'mosquitto', use: 'the comparison of brokers' },
    { command: 'arm-none-eabi-gcc', debian: 'gcc-arm-none-eabi', use: 'the firmware benchmarks' },
    { command: 'qemu-system-arm', debian: 'qemu-system-arm', use: 'the firmware benchmarks' },
  ],
}

// Debian keeps servers in sbin, which an ordinary user's PATH may lack.
const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
const isThere = ({ command, file }) => (file === undefined ? onPath(command) : existsSync(file))
const onPath = (command) => folders.some((folder) => folder !== '' && existsSync(join(folder, command)))

function installSystemTools() {
  const missing = (SYSTEM_TOOLS[task] ?? []).filter((tool) => !isThere(tool))
  if (missing.length === 0) return
  const names = missing.map((tool) => tool.debian)
  if (platform() === 'linux' && process.getuid?.() === 0 && onPath('apt-get')) {
    say(`installing Debian packages: ${names.join(', ')} ...`)
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    spawnSync('apt-get', ['update', '-qq'], { stdio: ['ignore', 'ignore', 2], env })
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names], {
      stdio: ['ignore', 'ignore', 2],
      env,
    })
  }
  const still = missing.filter((tool) => !isThere(tool))
  for (const tool of still) {
    say(`'${tool.command}' is missing: ${tool.use} need it. Debian: apt-get install ${tool.debian}`)
  }
  if (still.length > 0 && process.env.CI === 'true') {
    say('nothing may be skipped in CI.')
    process.exit(1)
  }
}

function run(argv) {
  const node = nodeBinary()
  const env = {
    ...process.env,
    PATH: `${dirname(node)}${delimiter}${join(modules, '.bin')}${delimiter}${process.env.PATH}`,
  }
  const child = spawn(node, argv, { cwd: root, stdio: 'inherit', env })
  // A terminal sends Ctrl-C to the whole group; what is sent to this process alone is passed on.
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  process.on('SIGINT', () => {})
  child.on('exit', (code, signal) => process.exit(signal ? 128 + (signal === 'SIGINT' ? 2 : 15) : (code ?? 1)))
}

/** `--port /dev/ttyACM0`: tests of boards ask the real one there, too. */
function testArguments() {
  const at = args.findIndex((arg) => arg === '--port' || arg.startsWith('--port='))
  if (at < 0) return args
  const [, inline] = args[at].split(/=(.*)/s)
  process.env.SLUICE_BOARD_PORT = inline ?? args[at + 1] ?? ''
  return args.toSpliced(at, inline === undefined ? 2 : 1)
}

const tasks = {
  install: () => ['--version'],
  start: () => ['cli/main.ts', 'up', '--demo', ...args],
  test: () => [join(modules, 'vitest', 'vitest.mjs'), 'run', ...testArguments()],
  kernel: () => [join(modules, 'vitest', 'vitest.mjs'), 'run', '--config', 'vitest.kernel.config.ts', ...args],
  bench: () => ['bench/main.ts', ...args],
  fuzz: () => ['scripts/fuzz.ts', ...args],
}

if (!(task in tasks)) {
  say(`unknown task '${task}'; there are: ${Object.keys(tasks).join(', ')}`)
  process.exit(2)
}
installPackages()
installSystemTools()
run(tasks[task]())
