#!/usr/bin/env node
import type { CommandModule } from 'yargs'
import yargs from 'yargs'
import { hideBin } from 'yargs/helpers'
import { EXIT_CODES, NichelmError } from '../base/errors.js'
import { interrupted } from '../recipe/runStage.js'
import { EPILOGUE, interruption, usageError } from './frame.js'
import { bench } from './bench.js'
import { cluster } from './cluster.js'
import { corpus } from './corpus.js'
import { doctor } from './doctor.js'
import { evaluate } from './evaluate.js'
import { experiment } from './experiment.js'
import { finetune } from './finetune.js'
import { generate } from './generate.js'
import { instantiate } from './instantiate.js'
import { params } from './params.js'
import { plan } from './plan.js'
import { report } from './report.js'
import { run } from './run.js'
import { tokenizer } from './tokenizer.js'
import { train } from './train.js'
import { version } from './version.js'
import { select } from './select.js'
import { weights } from './weights.js'

const COMMANDS: readonly CommandModule[] = [run, experiment, tokenizer, corpus, cluster, weights, select, train, finetune, instantiate, evaluate, generate, report, plan, params, bench, doctor]

function tell(error: unknown, stack: boolean): number {
  const told = error instanceof NichelmError ? error : interruption.signal.aborted ? interrupted() : new NichelmError('INTERNAL', error instanceof Error ? error.message : String(error), { fix: 'This is a defect of nichelm. Run again with --stack and report it.', cause: error })
  process.stderr.write(`error: ${told.message}\n`)
  if (told.fix) process.stderr.write(`${told.fix}\n`)
  if (stack) for (let at: unknown = told; at instanceof Error; at = at.cause) process.stderr.write(`${at.stack}\n`)
  return EXIT_CODES[told.code]
}

/** Options and commands where the parser stands; yargs tells them by these methods, which its types leave out. */
function knownHere(parser: unknown): { options: string[]; commands: string[] } {
  const inside = parser as { getOptions(): { key: Record<string, unknown> }; getInternalMethods(): { getCommandInstance(): { getCommands(): string[] } } }
  return {
    options: Object.keys(inside.getOptions().key).filter(name => name.length > 1).map(name => `--${name}`),
    commands: inside.getInternalMethods().getCommandInstance().getCommands(),
  }
}

async function main(args: string[]): Promise<number> {
  let failure: unknown
  const parser = yargs(args)
    .scriptName('nichelm')
    .usage('$0 COMMAND: the best small language model for one domain, from a large generic text set and a little domain text')
    .parserConfiguration({ 'camel-case-expansion': true, 'boolean-negation': true })
    .version(version())
    .help()
    .option('stack', { type: 'boolean', default: false, describe: 'Print where an error came from', global: true })
    .example('$0 run recipe.yaml', 'From text to specialized models, as the recipe says')
    .epilogue(EPILOGUE)
    .wrap(Math.min(120, process.stdout.columns ?? 100))
    .strict()
    .demandCommand(1, 'which command?')
    .exitProcess(false)
  for (const command of COMMANDS) parser.command(command)
  parser.fail((message, error) => {
    if (error) throw error
    throw usageError(message, args, knownHere(parser))
  })
  try { await parser.parseAsync() } catch (error) { failure = error }
  return failure === undefined ? Number(process.exitCode ?? 0) : tell(failure, args.includes('--stack'))
}

for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    if (interruption.signal.aborted) process.exit(EXIT_CODES.INTERRUPTED)
    process.stderr.write('\nstopping: what runs is saved first (again: stop at once)\n')
    interruption.abort()
  })
}
// The reader of a pipe has gone: nothing more to say.
for (const stream of [process.stdout, process.stderr]) stream.on('error', (error: NodeJS.ErrnoException) => { if (error.code === 'EPIPE') process.exit(0); throw error })

process.exitCode = await main(hideBin(process.argv))
