import type { CandidateView, ExplanationView } from '../../../api/console/work.ts'
import { number, t } from '../words.ts'
import { Badge, Bar } from './bits.tsx'

/** Every place a pod could be, best first, with what speaks for it and against it. */
export function Candidates({ value }: { readonly value: ExplanationView }) {
  const { pod, wouldGo, candidates } = value
  const rank = ({ node, obstacles }: CandidateView) =>
    node === pod.node ? 0 : node === wouldGo ? 1 : obstacles.length === 0 ? 2 : 3
  const sorted = candidates.toSorted((a, b) => rank(a) - rank(b) || b.score - a.score || (a.node < b.node ? -1 : 1))
  return (
    <div class="scroll-x" tabIndex={0} role="group" aria-label={t('candidates')}>
      <table class="candidates stack">
        <thead>
          <tr>
            <th scope="col">{t('gateway')}</th>
            <th scope="col">{t('points')}</th>
            <th scope="col">{t('whyColumn')}</th>
          </tr>
        </thead>
        <tbody>
          {sorted.map((candidate) => (
            <tr key={candidate.node}>
              <th scope="row">
                {candidate.node}{' '}
                {candidate.node === pod.node ? (
                  <Badge state="here" />
                ) : candidate.node === wouldGo ? (
                  <Badge state="best" />
                ) : null}
              </th>
              <td class="nowrap">
                {candidate.obstacles.length > 0 ? (
                  <Badge state="impossible" />
                ) : (
                  <Bar share={candidate.score / 100} label={number(candidate.score, 0.1)} warnAt={2} />
                )}
              </td>
              <td class="whole">
                {candidate.obstacles.length > 0
                  ? candidate.obstacles.join('; ')
                  : candidate.parts.map(({ of, points, weight, why }) => (
                      <span key={of} class="part">
                        <b>{of}</b> {number(points, 1)}
                        {weight === 1 ? '' : ` × ${number(weight)}`} <span class="muted">{why}</span>
                      </span>
                    ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** The scheduler's judgement of a pod in one sentence. */
export function verdict({ pod, wouldGo, why }: ExplanationView): string {
  if (pod.node === undefined && pod.problems.length > 0) return t('verdictProblems')
  if (wouldGo === undefined) return why
  if (pod.node === undefined) return t('verdictGoes', { node: wouldGo })
  return wouldGo === pod.node ? t('verdictStays') : t('verdictOther', { node: wouldGo })
}
