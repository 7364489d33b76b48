// Plays a scenario file: events for the engine, one per line, and what must have come of them.
//
//   # comment
//   spec revision=v2 steps=20,pause,50,pause:10s,100 max=100 paused=no   what is not named stays as it was
//   spec blue-green=30s                  a flip that keeps the revision before for so long; "no": canary
//   spec steps=20,analysis:NAME background=NAME@1 post=NAME     analyses: a step, beside the steps from 1 on
//   ("no":
//                                        none), after a flip
//   spec scaled=yes steps=scale:3,scale:25%,scale   pods are made for the canary; steps that set its scale
//   replicas 10                          of the workload
//   spec on-abort=reset on-complete=30s  open connections: keep, reset, or how long they may drain
//   ended [number=1] n1=12 n2="3/1:why"  nodes have answered an order: ended, left, and why
//   verdict RUN Failed="why"             or Successful, Error, Inconclusive: a run has ended
//   ready v1=2 v2=1                      ready endpoints of every revision
//   published                            the application has given the last Publish a generation (1, 2, ...)
//   acks desired=2 acked=2 [behind=n3,n4] [refusing="n2: map full"]      of the present generation
//   tick [+10s]                          time passes, then "look again"
//   taken-out nodes="n1 (why),n2" [round=N] [canary=v2]     what nodes did by themselves, of the present
//   round promote [full] | abort | retry | undo [REVISION] | pause | resume | set-weight N restart [+5m] the
//   state goes through its JSON text, as after the end of the process expect phase=Paused step=1 weight=20
//   stable=v1 canary=v2 publish=v1:80,v2:20 message~"..."
//
// An `expect` speaks of the state and of the effects since the one before. Publishes, rejections, starts and
// stops that it does not name are a failure. Its words: phase, step, weight, stable, canary ("" for none),
// generation, pods (that the canary shall have), history, previous (kept after a flip), kept (for how long
// yet), round (as published), paused (yes/no), remaining (of a pause), message, publish, wake (time from
// now), revision (SetRevision), reject, start (RUN:TEMPLATE), stop (RUN), note, ending ("" for none; planned,
// due in 30s, or ordered under a generation), ended (in words). `key=value` is equality, `key~value` is
// "contains".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::engine {

/// Every failure as "name:line: what was found, what was expected"; empty: the scenario holds.
std::vector<std::string> PlayScenario(std::string_view text, std::string_view name);

}  // namespace weir::engine
