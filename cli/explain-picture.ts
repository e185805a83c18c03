import type { Candidate, Decision } from '../cloudcore/scheduler/choose.ts'
import type { PodView } from '../cloudcore/scheduler/pod-view.ts'
import type { Style } from './output.ts'
import { displayWidth, padEnd, printable, wrap } from './text.ts'

/** A decision as people read it: where the pod is, where it would go now, and what was made of each node. */
export function explainPicture(
  pod: PodView,
  because: string | undefined,
  decision: Decision,
  style: Style,
  width: number,
): string[] {
  const lines = [`${style.bold(printable(pod.key))} ${where(pod)}`]
  if (because !== undefined && because !== '') lines.push(`chosen with ${printable(because)}`)
  for (const { message, hint } of pod.problems) lines.push(style.red(printable(message)), `  ${printable(hint ?? '')}`)
  if (pod.meaning.intents.length > 0) {
    const words = pod.meaning.intents.map(({ name, text, hard }) => `${name} ${text}${hard ? '' : ' (a wish)'}`)
    lines.push(`intents: ${printable(words.join(', '))}`)
  }
  lines.push('')
  const sorted = [...decision.candidates].sort(
    (a, b) => rank(a, pod, decision) - rank(b, pod, decision) || b.score - a.score || a.node.localeCompare(b.node),
  )
  const names = Math.max(0, ...sorted.map(({ node }) => displayWidth(printable(node))))
  for (const each of sorted) {
    // A reason is worth nothing when its end is cut off: it goes on in the next line.
    const [first = '', ...rest] = wrap(printable(why(each)), Math.max(20, width - names - 12))
    const name = padEnd(printable(each.node), names)
    lines.push(`${mark(each, pod, decision)}${name}  ${points(each).padStart(5)}  ${first}`)
    for (const line of rest) lines.push(`${' '.repeat(names + 11)}${line}`)
  }
  lines.push('', verdict(pod, decision))
  return lines
}

function where({ node, phase, leaving }: PodView): string {
  if (node === undefined) return 'has no node yet'
  return `is on ${printable(node)} (${leaving ? 'ending' : phase})`
}

const rank = ({ node, obstacles }: Candidate, pod: PodView, decision: Decision) =>
  node === decision.node ? 0 : node === pod.node ? 1 : obstacles.length === 0 ? 2 : 3

function mark({ node, obstacles }: Candidate, pod: PodView, decision: Decision): string {
  if (node === pod.node) return '● '
  if (node === decision.node) return '→ '
  return obstacles.length === 0 ? '  ' : '✗ '
}

const points = ({ obstacles, score }: Candidate) => (obstacles.length > 0 ? '' : score.toFixed(1))

const why = ({ obstacles, parts }: Candidate) =>
  obstacles.length > 0
    ? obstacles.join('; ')
    : parts.map(({ of, points: each, why: words }) => `${of} ${Math.round(each)}: ${words()}`).join('; ')

function verdict({ node, problems }: PodView, decision: Decision): string {
  if (node === undefined && problems.length > 0) return 'It waits until its annotations are corrected.'
  if (decision.node === undefined) return printable(decision.why)
  if (node === undefined) return `It goes to ${printable(decision.node)}.`
  if (decision.node === node) return 'It would be placed there again.'
  return `Placed anew it would go to ${printable(decision.node)}; a pod is moved only when an intent is broken or about to be.`
}
