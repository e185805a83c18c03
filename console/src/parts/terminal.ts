import { FitAddon } from '@xterm/addon-fit'
import { Terminal } from '@xterm/xterm'
import { colour } from './plot.ts'

/** Channels of the stream protocol (api/link/streams.ts). */
const STDIN = 0
const STDOUT = 1
const RESIZE = 4
const PROTOCOL = 'sluice.terminal.v1'
/** What is typed or pasted goes in pieces: a message may not be larger than 64 KiB. */
const PIECE_BYTES = 32 * 1024

export interface TerminalOptions {
  /** Of the pod, from `/v1/pods`. */
  readonly path: string
  readonly csrf: string
  readonly onOpen: () => void
  /** How it ended, in words; undefined with an exit code that is told in `code`. */
  readonly onEnd: (end: { readonly code?: number; readonly message?: string }) => void
}

export interface OpenTerminal {
  focus(): void
  close(): void
}

/** A terminal in a box, connected to a command in a pod, until it is closed. */
export function openTerminal(box: HTMLElement, { path, csrf, onOpen, onEnd }: TerminalOptions): OpenTerminal {
  const styles: CSSStyleSheet[] = []
  const strict = strictDocument(styles)
  const terminal = new Terminal({
    ...{ cols: 80, rows: 24, fontSize: 13, scrollback: 2_000, cursorBlink: true, screenReaderMode: true },
    fontFamily: 'ui-monospace, Consolas, "DejaVu Sans Mono", monospace',
    theme: themeNow(),
    documentOverride: strict,
  })
  const fit = new FitAddon()
  terminal.loadAddon(fit)
  openStrictly(() => terminal.open(box), strict)
  const scheme = matchMedia('(prefers-color-scheme: dark)')
  const recolour = () => {
    terminal.options.theme = themeNow()
  }
  scheme.addEventListener('change', recolour)
  const url = new URL(path, location.href)
  url.protocol = url.protocol.replace('http', 'ws')
  const socket = new WebSocket(url, [PROTOCOL, `csrf.${csrf}`])
  socket.binaryType = 'arraybuffer'
  const send = (channel: number, data: Uint8Array) => {
    if (socket.readyState !== WebSocket.OPEN) return
    for (let from = 0; from === 0 || from < data.length; from += PIECE_BYTES) {
      const piece = data.subarray(from, from + PIECE_BYTES)
      const message = new Uint8Array(piece.length + 1)
      message[0] = channel
      message.set(piece, 1)
      socket.send(message)
    }
  }
  const text = new TextEncoder()
  const tellSize = () =>
    send(RESIZE, text.encode(`${JSON.stringify({ Width: terminal.cols, Height: terminal.rows })}\n`))
  let ended = false
  const end = (how: { readonly code?: number; readonly message?: string }) => {
    if (ended) return
    ended = true
    terminal.options.disableStdin = true
    terminal.options.cursorBlink = false
    onEnd(how)
  }
  let opened = false
  socket.onmessage = ({ data }) => {
    if (typeof data === 'string') {
      const control = JSON.parse(data) as { c: string; result?: { exitCode?: number }; message?: string; hint?: string }
      if (control.c === 'open') {
        opened = true
        onOpen()
        fit.fit()
        tellSize()
      } else if (control.c === 'done') {
        end(control.result?.exitCode === undefined ? { message: '' } : { code: control.result.exitCode })
      } else if (control.c === 'failed') {
        end({ message: [control.message, control.hint].filter((each) => each !== undefined).join('. ') })
      }
      return
    }
    const bytes = new Uint8Array(data as ArrayBuffer)
    if (bytes[0] === STDOUT) terminal.write(bytes.subarray(1))
  }
  socket.onclose = () => end({ message: opened ? '' : 'refused' })
  terminal.onData((typed) => send(STDIN, text.encode(typed)))
  terminal.onBinary((typed) =>
    send(
      STDIN,
      Uint8Array.from(typed, (letter) => letter.charCodeAt(0)),
    ),
  )
  terminal.onResize(tellSize)
  // Tab belongs to the shell; Escape twice would be lost in an editor, so this leads out of the terminal.
  terminal.attachCustomKeyEventHandler((event) => !(event.key === 'F6' && event.type === 'keydown' && leave()))
  const leave = () => {
    box.closest('section')?.querySelector<HTMLElement>('[data-close]')?.focus()
    return true
  }
  const resized = new ResizeObserver(() => fit.fit())
  resized.observe(box)
  terminal.focus()
  return {
    focus: () => terminal.focus(),
    close() {
      ended = true
      resized.disconnect()
      scheme.removeEventListener('change', recolour)
      socket.close()
      terminal.dispose()
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => !styles.includes(sheet))
    },
  }
}

const themeNow = () => ({
  background: colour('--bg'),
  foreground: colour('--text'),
  cursor: colour('--accent'),
  selectionBackground: colour('--rail'),
})

/** Part of the terminal asks the page's own document for its elements all the same, and only while it opens. */
function openStrictly(open: () => void, strict: Document): void {
  Object.defineProperty(document, 'createElement', { value: strict.createElement, configurable: true })
  try {
    open()
  } finally {
    Reflect.deleteProperty(document, 'createElement')
  }
}

/**
 * The document for the terminal's elements. The page's policy lets no style in that stands in the page, neither as an
 * element nor as an attribute: what would be one is set as a style sheet of the document, or through the style object.
 */
function strictDocument(styles: CSSStyleSheet[]): Document {
  const original = document.createElement.bind(document)
  const createElement = (name: string) => {
    const element = original(name === 'style' ? 'span' : name)
    if (name === 'style') {
      const sheet = new CSSStyleSheet()
      styles.push(sheet)
      document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]
      element.hidden = true
      Object.defineProperty(element, 'textContent', { set: (css: string) => sheet.replaceSync(css) })
    }
    const setAttribute = element.setAttribute.bind(element)
    element.setAttribute = (attribute: string, value: string) => {
      if (attribute === 'style') element.style.cssText = value
      else setAttribute(attribute, value)
    }
    return element
  }
  return new Proxy(document, {
    get(target, property) {
      if (property === 'createElement') return createElement
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
    set: (target, property, value) => Reflect.set(target, property, value, target),
  })
}
