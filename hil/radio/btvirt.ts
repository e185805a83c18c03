import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openPtyPair, type PtyPair } from '../pty.ts'

export const BTVIRT_MISSING = 'apt-get install bluez-test-tools'
const BTVIRT = '/usr/bin/btvirt'
const RETRY_MS = 2
const READY_MS = 5000

/** Whether BlueZ's emulator can be started here. */
export const hasBtvirt = (): boolean => existsSync(BTVIRT)

/** A radio whose controllers are BlueZ's own emulator: foreign code below a host stack, as the stack itself is. */
export interface Btvirt extends AsyncDisposable {
  /** One more controller on the same air; foreign stacks open the path as an HCI UART. */
  add(): Promise<string>
}

/**
 * A new controller asks the kernel for its crypto sockets (AF_ALG) and hangs up when there are none, although pairing is
 * all that needs them. Some kernels are built without; then the emulator gets an idle descriptor instead. And its own
 * sockets always have the same names in /tmp, where two emulators would take them from each other: they get a folder.
 */
const SHIM = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
int socket(int family, int type, int protocol) {
  if (family == 38) { int fd = syscall(SYS_socket, family, type, protocol); return fd >= 0 ? fd : eventfd(0, 0); }
  return syscall(SYS_socket, family, type, protocol);
}
int bind(int fd, const struct sockaddr *address, socklen_t length) {
  const struct sockaddr_un *local = (const struct sockaddr_un *)address;
  const char *folder = getenv("BTVIRT_FOLDER");
  struct sockaddr_un moved = {.sun_family = AF_UNIX};
  if (folder && address->sa_family == AF_UNIX && !strncmp(local->sun_path, "/tmp/bt-server-", 15)) {
    snprintf(moved.sun_path, sizeof moved.sun_path, "%s/%s", folder, local->sun_path + 5);
    return syscall(SYS_bind, fd, &moved, sizeof moved);
  }
  int result = syscall(SYS_bind, fd, address, length);
  return result < 0 && address->sa_family == 38 ? 0 : result;
}
`

/** @param kernelControllers how many more controllers it gives to the kernel through /dev/vhci: hci0 and so on; for root. */
export async function startBtvirt(kernelControllers = 0): Promise<Btvirt> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-btvirt-'))
  const shim = await buildShim(folder)
  const child = spawn(BTVIRT, ['-s', ...(kernelControllers > 0 ? [`-l${kernelControllers}`, '-L'] : [])], {
    stdio: 'ignore',
    env: { ...process.env, ...(shim === undefined ? {} : { LD_PRELOAD: shim, BTVIRT_FOLDER: folder }) },
  })
  const open: { readonly pty: PtyPair; readonly socket: Socket }[] = []
  return {
    async add() {
      const socket = await patientConnect(join(shim === undefined ? '/tmp' : folder, 'bt-server-le'))
      const pty = openPtyPair()
      pipeBoth(pty, socket)
      open.push({ pty, socket })
      return pty.path
    },
    async [Symbol.asyncDispose]() {
      for (const { pty, socket } of open.splice(0)) {
        socket.destroy()
        await pty[Symbol.asyncDispose]()
      }
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, 'exit')
        child.kill('SIGTERM')
        await gone
      }
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Undefined where no compiler is: then the kernel must have AF_ALG, and only one emulator can run. */
async function buildShim(folder: string): Promise<string | undefined> {
  const source = join(folder, 'shim.c')
  const library = join(folder, 'shim.so')
  await writeFile(source, SHIM)
  const { status } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source], { stdio: 'ignore' })
  return status === 0 ? library : undefined
}

/** The emulator makes its sockets a moment after it starts. */
async function patientConnect(path: string): Promise<Socket> {
  const endMs = performance.now() + READY_MS
  for (;;) {
    const socket = connect({ path })
    try {
      await once(socket, 'connect')
      return socket
    } catch (thrown) {
      socket.destroy()
      if (performance.now() > endMs) throw thrown
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }
}

function pipeBoth(pty: PtyPair, socket: Socket): void {
  socket.on('error', () => undefined)
  pty.onData((chunk) => socket.write(chunk))
  socket.on('data', (chunk) => {
    let rest: Uint8Array = chunk
    const flush = () => {
      rest = rest.subarray(pty.write(rest))
      if (rest.length === 0) return void socket.resume()
      setTimeout(flush, RETRY_MS)
    }
    socket.pause()
    flush()
  })
}
