import { endianness } from 'node:os'

/**
 * A seccomp filter for pods as a classic BPF program (seccomp(2), linux/filter.h): everything is allowed but what a
 * program in a box has no business with. It is a list of what is denied, not of what is allowed: an unknown new system
 * call passes; the user namespace without capabilities and the separate user are what holds against those.
 */
export function seccompProgram(machine: string): Buffer | undefined {
  const arch = ARCHITECTURES[machine]
  if (arch === undefined || endianness() !== 'LE') return undefined
  const denied = Object.values(DENIED).flatMap((numbers) =>
    (numbers[arch.column] ?? -1) >= 0 ? [numbers[arch.column]!] : [],
  )
  const clone = CLONE[arch.column]!
  const ioctl = IOCTL[arch.column]!
  const socket = SOCKET[arch.column]!
  const program: Instruction[] = [
    load(OFFSET_ARCH),
    jumpEqual(arch.audit, 1, 0),
    give(KILL),
    load(OFFSET_NUMBER),
    // The x32 variants of x86-64 calls have numbers of their own and would pass every comparison below.
    ...(machine === 'x64' ? [jumpGreaterEqual(0x4000_0000, 0, 1), give(EPERM)] : []),
    // Its flags are in memory, where a filter cannot look. Without it the C library takes clone.
    jumpEqual(CLONE3, 0, 1),
    give(ENOSYS),
    ...denied.flatMap((number) => [jumpEqual(number, 0, 1), give(EPERM)]),
    jumpEqual(clone, 0, 4),
    load(OFFSET_ARGUMENTS),
    jumpAnyBit(NEW_NAMESPACES, 0, 1),
    give(EPERM),
    give(ALLOW),
    // Puts characters into the input of a terminal, which may be that of whoever called exec.
    jumpEqual(ioctl, 0, 5),
    load(OFFSET_ARGUMENTS + 8),
    jumpEqual(TIOCSTI, 1, 0),
    jumpEqual(TIOCLINUX, 0, 1),
    give(EPERM),
    give(ALLOW),
    jumpEqual(socket, 0, 5),
    load(OFFSET_ARGUMENTS),
    jumpEqual(AF_VSOCK, 1, 0),
    jumpEqual(AF_ALG, 0, 1),
    give(EPERM),
    give(ALLOW),
    give(ALLOW),
  ]
  return Buffer.concat(program.map(encode))
}

type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, value: number]

/** Of `struct seccomp_data`: number, architecture, instruction pointer, six arguments of 8 bytes. */
const OFFSET_NUMBER = 0
const OFFSET_ARCH = 4
const OFFSET_ARGUMENTS = 16

const load = (offset: number): Instruction => [0x20, 0, 0, offset]
const jumpEqual = (value: number, yes: number, no: number): Instruction => [0x15, yes, no, value]
const jumpGreaterEqual = (value: number, yes: number, no: number): Instruction => [0x35, yes, no, value]
const jumpAnyBit = (value: number, yes: number, no: number): Instruction => [0x45, yes, no, value]
const give = (value: number): Instruction => [0x06, 0, 0, value]

const ALLOW = 0x7fff_0000
const KILL = 0x8000_0000
const EPERM = 0x0005_0001
const ENOSYS = 0x0005_0026

/** Namespaces that clone can make: user, mount, network, process, host name, inter-process, control group (sched.h). */
const NEW_NAMESPACES = 0x1000_0000 | 0x0002_0000 | 0x4000_0000 | 0x2000_0000 | 0x0400_0000 | 0x0800_0000 | 0x0200_0000
const CLONE3 = 435
const TIOCSTI = 0x5412
const TIOCLINUX = 0x541c
const AF_ALG = 38
const AF_VSOCK = 40

/** AUDIT_ARCH values of linux/audit.h, and which column of the tables below is meant. */
const ARCHITECTURES: Readonly<Record<string, { readonly audit: number; readonly column: 0 | 1 }>> = {
  x64: { audit: 0xc000_003e, column: 0 },
  arm64: { audit: 0xc000_00b7, column: 1 },
}

/** Numbers on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl) and arm64 (asm-generic/unistd.h); -1 where there is none. */
type Numbers = readonly [x64: number, arm64: number]

const CLONE: Numbers = [56, 220]
const IOCTL: Numbers = [16, 29]
const SOCKET: Numbers = [41, 198]

const DENIED: Readonly<Record<string, Numbers>> = {
  acct: [163, 89],
  add_key: [248, 217],
  adjtimex: [159, 171],
  bpf: [321, 280],
  chroot: [161, 51],
  clock_adjtime: [305, 266],
  clock_settime: [227, 112],
  create_module: [174, -1],
  delete_module: [176, 106],
  fanotify_init: [300, 262],
  finit_module: [313, 273],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fsopen: [430, 430],
  fspick: [433, 433],
  get_kernel_syms: [177, -1],
  init_module: [175, 105],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  io_uring_setup: [425, 425],
  ioperm: [173, -1],
  iopl: [172, -1],
  kexec_file_load: [320, 294],
  kexec_load: [246, 104],
  keyctl: [250, 219],
  lookup_dcookie: [212, 18],
  mbind: [237, 235],
  modify_ldt: [154, -1],
  mount: [165, 40],
  mount_setattr: [442, 442],
  move_mount: [429, 429],
  move_pages: [279, 239],
  name_to_handle_at: [303, 264],
  nfsservctl: [180, 42],
  open_by_handle_at: [304, 265],
  open_tree: [428, 428],
  perf_event_open: [298, 241],
  personality: [135, 92],
  pivot_root: [155, 41],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  ptrace: [101, 117],
  query_module: [178, -1],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  reboot: [169, 142],
  request_key: [249, 218],
  set_mempolicy: [238, 237],
  setdomainname: [171, 162],
  sethostname: [170, 161],
  setns: [308, 268],
  settimeofday: [164, 170],
  swapoff: [168, 225],
  swapon: [167, 224],
  syslog: [103, 116],
  umount2: [166, 39],
  unshare: [272, 97],
  uselib: [134, -1],
  userfaultfd: [323, 282],
  ustat: [136, -1],
  vhangup: [153, 58],
}

function encode([code, jumpTrue, jumpFalse, value]: Instruction): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt16LE(code, 0)
  bytes.writeUInt8(jumpTrue, 2)
  bytes.writeUInt8(jumpFalse, 3)
  bytes.writeUInt32LE(value >>> 0, 4)
  return bytes
}
