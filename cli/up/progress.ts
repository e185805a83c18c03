import type { Output } from '../output.ts'

/** Says what is being done, one calm line at a time. */
export interface Progress {
  step(text: string): void
  warn(text: string): void
}

/** With `--json` stdout belongs to the result, so the words go to stderr. */
export function progress(out: Output): Progress {
  const { green, yellow } = out.style
  const write = (text: string) => (out.json ? out.note(text) : out.line(text))
  return {
    step: (text) => write(`${green('▸')} ${text}`),
    warn: (text) => write(`${yellow('!')} ${text}`),
  }
}
